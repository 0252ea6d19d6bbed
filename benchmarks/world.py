"""A simulated sweep with out-of-fold predictions, and new persons on whom the truth is known.

    python benchmarks/world.py

Persons have seven photos each: five with a mask, one with a mask worn incorrectly, one without. The
18 classes are mask x gender x age, with the proportions of the mask competition. A network sees
five numbers of a photo: one for the gender, one for the age, three for the mask. They are those of
the photo's class, plus mistakes. 83 % of the variance of the mistakes is shared by all trials, 4 %
by the trials of a family (a backbone), 6 % by the fold models of a trial; 7 % belongs to one fold
model. Mistakes about gender and age are mostly common to a person's photos. And some persons look
to every network like persons of another gender or age.

A network's logits are the log likelihood of each class and the logarithm of its share of the
training images, all times an over-confidence. Networks with class weights do not count the whole
share; networks that learn too little of rare classes count it more than once. The skill of a trial
is the macro-F1 that its fold models reach on the new persons, except for the luck of each. The
strength of the signal is chosen so that they reach it. The command prints what these networks have
in common with real ones.

Shapes: N images, U persons, K classes, D numbers that a network sees of a photo, F folds, P photos
of a person, C genders x ages.
"""

import dataclasses
import functools
import itertools
import statistics

import numpy as np
import numpy.typing as npt
from report import print_header
from scipy.interpolate import PchipInterpolator

from trainer.data.placing import place_units
from trainer.metrics import Labels, Probs, macro_f1
from trainer.prediction.calibration import softmax
from trainer.prediction.mixture import mean
from trainer.seeds import derive

Floats = npt.NDArray[np.float64]
Noise = npt.NDArray[np.float32]

TRIALS = 60
FOLDS = 5
MASKS_P = np.array([0, 0, 0, 0, 0, 1, 2])  # worn, worn incorrectly, not worn
# persons of gender x age (below 30, below 60, 60 and older) in the mask competition
SHARES_C = np.array([549, 410, 83, 732, 817, 109]) / 2700
MASK_K, GENDER_K, AGE_K = (np.arange(18) // 6, np.arange(18) // 3 % 2, np.arange(18) % 3)
COLUMNS = (MASK_K, GENDER_K, AGE_K)
SHARES_K = (np.bincount(MASKS_P)[:, None] / len(MASKS_P) * SHARES_C).ravel()

# what a network sees of a photo at a strength of 1, in standard deviations of its mistakes
GENDER = 3.7
AGES = np.array([0.0, 2.8, 5.4])
MASK = 3.7
SIGHT_KD = np.column_stack([GENDER * GENDER_K, AGES[AGE_K], MASK * np.eye(3)[MASK_K]]).astype(
    np.float32
)
COMMON_D = np.array([0.72, 0.72, 0.3, 0.3, 0.3])  # share that a person's photos have in common
SHARED, FAMILY, TRIAL, MODEL = 0.83, 0.04, 0.06, 0.07
# chance that a person of one age (gender) looks like a person of another age (gender)
LIKE_AGE = np.array([[0.94, 0.06, 0.0], [0.06, 0.92, 0.02], [0.0, 0.13, 0.87]])
LIKE_GENDER = np.array([[0.98, 0.02], [0.02, 0.98]])
LIKE_CC = np.kron(LIKE_GENDER, LIKE_AGE)

FAMILIES = 5
CENTRE = 0.715  # mean macro-F1 of the trials
SPREADS = {"equal": 0.0, "slight": 0.014, "clear": 0.044}  # standard deviation of the skills
LUCK = 0.0045  # standard deviation of the macro-F1 of a trial's fold models
# shape of a gamma distribution: bad trials are farther from the mean than good ones
LEFT_SKEW = 3.0
CLASS_WEIGHTS = (-0.7, 0.7)  # a network counts a class of share p as p ** (1 - this)
CONFIDENCE = (1.0, 2.0)
NEW_PERSONS = 3_600


@dataclasses.dataclass(frozen=True)
class Photos:
    """Photos of persons, in the order of the persons.

    Attributes:
        name: part of the seeds of the mistakes that are made on these photos.
        labels_N: the class of each image.
        looks_N: the class that it looks like to every network.
        persons_N: the number of its person.
        weights_N: how much the image counts, so that the classes have the shares of SHARES_K.
    """

    name: str
    labels_N: Labels
    looks_N: Labels
    persons_N: Labels
    weights_N: Floats

    @classmethod
    def of(
        cls, name: str, cells_U: Labels, *, rng: np.random.Generator, reweighted: bool = False
    ) -> "Photos":
        """Return the photos of persons of these genders and ages."""
        cells = len(SHARES_C)
        below_UC = LIKE_CC.cumsum(axis=1)[cells_U] < rng.random(len(cells_U))[:, None]
        looks_U = np.minimum(below_UC.sum(axis=1), cells - 1)
        weights_U = np.ones(len(cells_U))
        if reweighted:
            weights_U = (SHARES_C / np.bincount(cells_U))[cells_U]
        return cls(
            name,
            *((MASKS_P * cells + of_U[:, None]).ravel() for of_U in (cells_U, looks_U)),
            np.repeat(np.arange(len(cells_U)), len(MASKS_P)),
            np.repeat(weights_U, len(MASKS_P)),
        )

    @property
    def persons(self) -> int:
        """The number of persons."""
        return len(self.labels_N) // len(MASKS_P)

    def score(self, class_N: Labels) -> float:
        """The macro-F1 of predicted classes."""
        k = len(SHARES_K)
        right_N = class_N == self.labels_N
        right_K = np.bincount(class_N[right_N], weights=self.weights_N[right_N], minlength=k)
        said_K = np.bincount(class_N, weights=self.weights_N, minlength=k)
        actual_K = np.bincount(self.labels_N, weights=self.weights_N, minlength=k)
        return float((2 * right_K / (said_K + actual_K)).mean())


@dataclasses.dataclass(frozen=True)
class Network:
    """One fold model.

    Attributes:
        strength: how far apart it sees the classes, see SIGHT_KD.
        shares_K: the logarithm of each class's share, as the network counts it.
        confidence: above 1 for over-confident probabilities.
    """

    strength: float
    shares_K: Noise
    confidence: float = 1.0

    def probs(self, looks_N: Labels, mistakes_ND: Noise) -> Probs:
        """Return the probabilities (N, K) that are predicted for images of these looks."""
        return softmax(np.float32(self.confidence) * self.logits(looks_N, mistakes_ND))

    def logits(self, looks_N: Labels, mistakes_ND: Noise) -> Noise:
        """Return the logits (N, K) without over-confidence."""
        sight_KD = np.float32(self.strength) * SIGHT_KD
        # log likelihoods; first of photos without mistakes
        clear_KK = sight_KD @ sight_KD.T - (sight_KD**2).sum(axis=1) / 2 + self.shares_K
        logits_NK: Noise = mistakes_ND @ sight_KD.T
        logits_NK += clear_KK[looks_N]
        return logits_NK


@dataclasses.dataclass(frozen=True)
class Trial:
    """A trial with its fold models."""

    number: int
    family: int
    networks: tuple[Network, ...]


class World:
    """One draw of data, folds, trials and new persons; everything follows from the seed.

    Attributes:
        photos: the training images.
        fold_N: the fold that holds out each training image.
        new: images of new persons, as many of each gender and age.
    """

    def __init__(
        self,
        seed: int,
        *,
        persons: int,
        new_persons: int = NEW_PERSONS,
        class_weights: tuple[float, float] = CLASS_WEIGHTS,
    ) -> None:
        """Draw the persons.

        Args:
            class_weights: the lowest and the highest of the trials, within CLASS_WEIGHTS.
        """
        self._seed = seed
        self._class_weights = class_weights
        cells_U = self._rng("persons").choice(len(SHARES_C), size=persons, p=SHARES_C)
        self.photos = Photos.of("photos", cells_U, rng=self._rng("looks"))
        self.fold_N = cut(self.photos, seed=derive(seed, "folds"))
        cells_U = np.arange(new_persons) % len(SHARES_C)
        self.new = Photos.of("new", cells_U, rng=self._rng("new looks"), reweighted=True)
        self._of_family: dict[tuple[str, int], Noise] = {}

    def trials(self, spread: float) -> list[Trial]:
        """Return TRIALS trials whose skills have this standard deviation."""
        drawn_T = self._rng("skills").gamma(LEFT_SKEW, size=TRIALS)
        skills_T = CENTRE + spread * (LEFT_SKEW - drawn_T) / LEFT_SKEW**0.5
        return [self.trial(number, skill) for number, skill in enumerate(skills_T.tolist())]

    def trial(self, number: int, skill: float) -> Trial:
        """Return a trial whose fold models reach this macro-F1 on average."""
        rng = self._rng("trial", number)
        family = int(rng.integers(FAMILIES))
        weights = float(rng.uniform(*self._class_weights))
        confidence = float(np.exp(rng.uniform(*np.log(CONFIDENCE))))
        skills_F = skill + LUCK * rng.standard_normal(FOLDS)
        strengths_F = self._strength(weights)(skills_F)
        shares_K = self._shares(weights)
        networks = (Network(s, shares_K, confidence) for s in strengths_F.tolist())
        return Trial(number, family, tuple(networks))

    def _shares(self, weights: float) -> Noise:
        """The shares of the classes as a network with these class weights counts them."""
        cells_U = self.photos.labels_N[:: len(MASKS_P)]
        persons_C = np.bincount(cells_U, minlength=len(SHARES_C)) + 1.0
        masks_M = np.bincount(MASKS_P) / len(MASKS_P)
        shares_K = (masks_M[:, None] * persons_C / persons_C.sum()).ravel()
        return ((1 - weights) * np.log(shares_K)).astype(np.float32)

    def _strength(self, weights: float) -> PchipInterpolator:
        """The strength of a network with these class weights as a function of its macro-F1."""
        strengths, exponents, scores_WS = self._scores
        scores_S = np.polyval(np.polyfit(exponents, scores_WS, 2), weights)
        return PchipInterpolator(scores_S, strengths)

    @functools.cached_property
    def _scores(self) -> tuple[Floats, Floats, Floats]:
        """Strengths (S), class weights (W) and the macro-F1 (W, S) that they lead to."""
        strengths, exponents = np.linspace(0.4, 1.7, 8), np.linspace(*CLASS_WEIGHTS, 4)
        own_ND = mistakes(self.new, self._rng("skill"), share=TRIAL + MODEL)
        mistakes_ND = self.shared(self.new, 0) + own_ND
        scores_WS = [
            [
                self.new.score(
                    Network(strength, self._shares(weights))
                    .logits(self.new.looks_N, mistakes_ND)
                    .argmax(axis=1)
                )
                for strength in strengths
            ]
            for weights in exponents
        ]
        return strengths, exponents, np.array(scores_WS)

    def oof(self, trial: Trial) -> Probs:
        """Return the out-of-fold probabilities (N, K) of a trial."""
        mistakes_ND = self.shared(self.photos, trial.family) + mistakes(
            self.photos, self._rng("photos", "trial", trial.number), share=TRIAL + MODEL
        )
        probs_NK = np.empty((len(self.fold_N), len(SHARES_K)), dtype=np.float32)
        for fold in range(FOLDS):
            held_out = self.fold_N == fold
            probs_NK[held_out] = trial.networks[fold].probs(
                self.photos.looks_N[held_out], mistakes_ND[held_out]
            )
        return probs_NK

    def fold_scores(self, oof_NK: Probs) -> tuple[float, ...]:
        """Return the macro-F1 of each fold, as a sweep computes it."""
        rows = [np.flatnonzero(self.fold_N == fold) for fold in range(FOLDS)]
        return tuple(macro_f1(oof_NK[held], self.photos.labels_N[held]) for held in rows)

    def fold_models(self, trial: Trial) -> list[Probs]:
        """Return the probabilities (N, K) of each of a trial's fold models for the new persons."""
        of_trial_ND = self.shared(self.new, trial.family) + mistakes(
            self.new, self._rng("new", "trial", trial.number), share=TRIAL
        )
        found = []
        for fold, network in enumerate(trial.networks):
            rng = self._rng("new", "trial", trial.number, "fold", fold)
            mistakes_ND = of_trial_ND + mistakes(self.new, rng, share=MODEL)
            found.append(network.probs(self.new.looks_N, mistakes_ND))
        return found

    def shared(self, photos: Photos, family: int) -> Noise:
        """Return the mistakes (N, D) that all trials of a family make."""
        key = photos.name, family
        if key not in self._of_family:
            of_all_ND = mistakes(photos, self._rng(photos.name, "shared"), share=SHARED)
            rng = self._rng(photos.name, "family", family)
            self._of_family[key] = of_all_ND + mistakes(photos, rng, share=FAMILY)
        return self._of_family[key]

    def _rng(self, *purpose: str | int) -> np.random.Generator:
        return np.random.default_rng(derive(self._seed, *purpose))


def cut(photos: Photos, *, seed: int) -> Labels:
    """Return the fold of each image, placed as `make_folds` places groups.

    `make_folds` itself refuses a class of fewer persons than folds, as 86 persons often have one.
    """
    fold_U = np.full(photos.persons, -1, dtype=np.int64)
    order = [derive(seed, person) for person in range(photos.persons)]
    shares_F = np.full(FOLDS, 1 / FOLDS)
    place_units(photos.labels_N, photos.persons_N, fold_U, order=order, shares_B=shares_F)
    return fold_U[photos.persons_N]


def mistakes(photos: Photos, rng: np.random.Generator, *, share: float) -> Noise:
    """Return mistakes (N, D) of this variance."""
    size = len(COMMON_D)
    common_UD = rng.standard_normal((photos.persons, size), dtype=np.float32)
    own_UPD = rng.standard_normal((photos.persons, len(MASKS_P), size), dtype=np.float32)
    own_UPD *= np.sqrt(share * (1 - COMMON_D)).astype(np.float32)
    own_UPD += (common_UD * np.sqrt(share * COMMON_D).astype(np.float32))[:, None]
    return own_UPD.reshape(-1, size)


def main() -> None:
    """Print what the world's networks have in common with real ones."""
    print_header("numpy", "scipy")
    rows: dict[str, list[float]] = {}
    for seed in range(20):
        world = World(derive(1, "networks", seed), persons=429)
        for name, value in likeness(world).items():
            rows.setdefault(name, []).append(100 * value)
    for name, values in rows.items():
        print(f"{name:<40}{statistics.fmean(values):7.2f} ± {statistics.stdev(values):.2f}")


def likeness(world: World) -> dict[str, float]:
    """Figures of five trials of equal skill."""
    share_N = world.new.weights_N / world.new.weights_N.sum()
    models = [world.fold_models(world.trial(number, CENTRE)) for number in range(5)]
    classes = [[probs_NK.argmax(axis=1) for probs_NK in probs] for probs in models]
    means = [mean(probs) for probs in models]

    def differ(pairs: list[tuple[Labels, Labels]]) -> float:
        return statistics.fmean(float(share_N @ (one != other)) for one, other in pairs)

    every = list(itertools.chain.from_iterable(classes))
    alone = statistics.fmean(world.new.score(class_N) for class_N in every)
    averaged = statistics.fmean(world.new.score(probs_NK.argmax(axis=1)) for probs_NK in means)
    return {
        "macro-F1 of a fold model": alone,
        "accuracy of a fold model": 1
        - differ([(class_N, world.new.labels_N) for class_N in every]),
        "two fold models of a trial disagree": statistics.fmean(
            differ(list(itertools.combinations(of_trial, 2))) for of_trial in classes
        ),
        "two trials disagree": differ(
            list(itertools.combinations([of_trial[0] for of_trial in classes], 2))
        ),
        "average of the fold models, more": averaged - alone,
        "average of five trials, more": world.new.score(mean(means).argmax(axis=1)) - averaged,
    }


if __name__ == "__main__":
    main()
