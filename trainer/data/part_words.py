"""The words for the parts of a data set, in names of folders and in columns of folds."""

from trainer.images.manifest import composed

WORDS = {
    "train": ("training", "train", "학습", "훈련"),
    "valid": ("validation", "valid", "val", "evaluation", "eval", "검증"),
    "test": ("testing", "test", "holdout", "unlabelled", "unlabeled", "테스트", "시험", "평가"),
}
ROLES = {word: role for role, words in WORDS.items() for word in words}


def role_of(word: str) -> str | None:
    """`train`, `valid` or `test` for a word of WORDS, in any case of letters; else None.

    Example:
        >>> role_of("Validation"), role_of(" TRAIN "), role_of("cat")
        ('valid', 'train', None)
    """
    return ROLES.get(composed(word.strip().casefold()))
