"""Draws parameter values without a model: at random, or evenly spread over the space.

A law is the probability distribution of a parameter, see `sweeps.space.laws`.
"""

from sweeps.space.parameters import Space, Values
from sweeps.space.spec import SweepSpec
from trainer.seeds import derive


def drawn(spec: SweepSpec, space: Space, *, number: int) -> Values:
    """Values of trial `number`, drawn from the laws of the parameters.

    With `qmc`, the draws of a sweep fill the space evenly.

    Args:
        space: `spec.space`, or a copy in which the values of a start point are constants.
    """
    if spec.search == "qmc":
        shares = _sobol(spec, number)
        return space.resolve(lambda parameter: parameter.domain.draw(shares[parameter.name]))
    return space.resolve(
        lambda parameter: parameter.domain.draw(share(spec, parameter.name, number=number))
    )


def share(spec: SweepSpec, name: str, *, number: int) -> float:
    """The number in [0, 1) at which the quantile function of a parameter's law is read."""
    bits = derive(spec.seed, "ask", number, name) >> 10
    return bits / 2**53  # a float holds 53 bits; a number with more bits may round to 1


def _sobol(spec: SweepSpec, number: int) -> dict[str, float]:
    """A number in [0, 1) for each varying parameter, by name.

    The numbers are point `number` of the sweep's scrambled Sobol sequence. Optuna's QMCSampler is
    not used, for three reasons. It counts its points in the study's attributes. It takes its
    parameters from the first finished trial, which may lack conditional parameters. It supports
    uniform laws only.
    """
    from scipy.stats.qmc import Sobol  # the import takes 0.5 s

    names = [parameter.name for parameter in spec.space.varying()]
    if not names:
        return {}
    sequence = Sobol(len(names), scramble=True, rng=derive(spec.seed, "qmc"))
    if number:
        sequence.fast_forward(number)
    return dict(zip(names, sequence.random()[0].tolist(), strict=True))
