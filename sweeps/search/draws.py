"""Values drawn from the laws of a space, without a model: by chance, or evenly spread."""

from sweeps.space.parameters import Space, Values
from sweeps.space.spec import SweepSpec
from trainer.seeds import derive


def drawn(spec: SweepSpec, space: Space, *, number: int) -> Values:
    """Values from their laws; with `qmc` the draws of a sweep fill the space evenly."""
    if spec.search == "qmc":
        shares = _sobol(spec, number)
        return space.resolve(lambda parameter: parameter.domain.draw(shares[parameter.name]))
    return space.resolve(
        lambda parameter: parameter.domain.draw(share(spec, parameter.name, number=number))
    )


def share(spec: SweepSpec, name: str, *, number: int) -> float:
    """The number in [0, 1) that decides a parameter's draw."""
    return (
        derive(spec.seed, "ask", number, name) >> 10
    ) / 2**53  # a float holds 53 bits: more may round to 1


def _sobol(spec: SweepSpec, number: int) -> dict[str, float]:
    """For each varying parameter a number in [0, 1): point `number` of the sweep's scrambled Sobol sequence.

    Optuna's QMCSampler is not used: it counts its points in the study's attributes, takes its parameters from the
    first finished trial (a conditional one may be missing there), and knows only uniform laws.
    """
    from scipy.stats.qmc import Sobol  # 0.5 s

    names = [parameter.name for parameter in spec.space.varying()]
    if not names:
        return {}
    sequence = Sobol(len(names), scramble=True, rng=derive(spec.seed, "qmc"))
    if number:
        sequence.fast_forward(number)
    return dict(zip(names, sequence.random()[0].tolist(), strict=True))
