"""What a choice means, in words: one sentence per fact, for a terminal or a model card.

The functions are pure.
"""

from collections.abc import Sequence

from sweeps.results.chosen import Choice, names_of
from sweeps.results.resampling import Interval

MOST_NAMED = 8
OF_RULES = ("f1", "balanced_accuracy")
# Of the gain of an ensemble over one trial, once fold models are averaged; see docs/choosing.md.
SHARE_LEFT = 2 / 3


def explain_trial(choice: Choice) -> list[str]:
    """Say what to expect of the chosen trial, and which trials cannot be told apart from it."""
    names = names_of(choice)
    chosen = choice.of(choice.chosen)
    lines = []
    what = "" if choice.rule == "best" else ", the cheapest within one standard error of the best"
    lines.append(f"{names[choice.chosen]}{what}: OOF {chosen.oof_score:.4f}")
    interval = choice.single
    if interval is None:
        lines.append("nothing can be said about new images: fewer than 10 groups are scored")
        return lines
    lines[0] += f", on {_new(choice)} {_between(interval)}"
    lines.append(
        "that is one of its fold models; `sweeps predict` averages all of them, which is usually "
        "better, so the lower end is a floor"
    )
    flattered = choice.goal.sign * (chosen.oof_score - interval.value)
    if flattered > 0:
        lines.append(
            f"being the best of {len(choice.trials)} completed trials flatters it by "
            f"{flattered:.4f}"
        )
    if choice.flattery[0] > 0:
        lines.append(
            f"of this, {choice.flattery[0]:.4f} is for epochs that were chosen by the folds they "
            "score"
        )
    others = [names[name] for name in choice.alike if name != choice.chosen]
    if others:
        lines.append(f"not told apart from {_some(others)}" + _cheapest(choice))
    else:
        lines.append("no other trial is likely to be the best")
    return lines


def explain_ensemble(choice: Choice) -> list[str]:
    """Say what to expect of the ensemble, and whether it is shipped."""
    estimate = choice.estimate
    rule = {
        "f1": "classes by the rule for macro-F1",
        "balanced_accuracy": "classes by the rule for balanced accuracy",
    }.get(choice.ensemble.decision.rule, "the most probable class")
    lines = [f"OOF {choice.oof_score:.4f}, {rule}"]
    if estimate is None:
        return lines
    lines[0] = (
        f"OOF {choice.oof_score:.4f}, on {_new(choice)} {_between(estimate.interval)}; {rule}"
    )
    gain = f"{estimate.gain:+.4f} ± {estimate.gain_error:.4f} against the best trial"
    if not estimate.ships:
        lines.append(
            f"{gain}: worse by more than one standard error, so the best trial is shipped alone"
        )
    elif estimate.gain > 0:
        lines.append(
            f"{gain}; expected after averaging fold models: about two thirds of it, "
            f"{SHARE_LEFT * estimate.gain:+.4f}"
        )
    else:
        lines.append(f"{gain}: shipped, because it is not worse by more than one standard error")
    if choice.ensemble.decision.rule != "argmax" and estimate.rule_gain_error > 0:
        lines.append(
            f"of this the rule adds {estimate.rule_gain:+.4f} ± {estimate.rule_gain_error:.4f}"
        )
    elif choice.ensemble.decision.rule == "argmax" and choice.metric in OF_RULES:
        lines.append(
            f"the rule for {choice.metric} is left out: it would add {estimate.rule_gain:+.4f} ± "
            f"{estimate.rule_gain_error:.4f}"
        )
    return lines


def explain_evidence(choice: Choice) -> list[str]:
    """Say on how much evidence the estimates rest, and which classes are a guess."""
    lines = []
    if choice.expected is not None:
        unit = "images" if choice.groups is None else "groups"
        count = choice.images if choice.groups is None else choice.groups
        among = "" if choice.groups is None else f" with {choice.images:,} images"
        lines.append(
            f"as much as {choice.expected.evidence:,.0f} {unit} of equal weight, of {count:,} "
            f"{unit}{among}"
        )
    if choice.rare:
        lines.append(
            f"a guess, with images of fewer than three "
            f"{'groups' if choice.groups is not None else 'images'}: {_some(choice.rare)}"
        )
    lines += choice.left_out[:MOST_NAMED]
    if len(choice.left_out) > MOST_NAMED:
        lines.append(f"and {len(choice.left_out) - MOST_NAMED} more; `--json` names all of them")
    return lines


def _new(choice: Choice) -> str:
    return "new images" if choice.groups is None else "new groups"


def _between(interval: Interval) -> str:
    return f"{interval.value:.4f} (95 %: {interval.low:.4f} to {interval.high:.4f})"


def _cheapest(choice: Choice) -> str:
    """Return a hint if a trial that is as good takes at most three quarters of the time."""
    chosen = choice.of(choice.chosen)
    alike = [choice.of(name) for name in choice.alike]
    cheapest = min(alike, key=lambda trial: (trial.seconds or float("inf"), trial.name))
    if not chosen.seconds or not cheapest.seconds or cheapest.seconds > 0.75 * chosen.seconds:
        return ""
    share = cheapest.seconds / chosen.seconds
    return f"; {names_of(choice)[cheapest.name]} took {share:.0%} of its time (`--rule one_se`)"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
