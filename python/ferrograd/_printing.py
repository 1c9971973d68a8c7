"""How tensors are printed."""

from . import _ferrograd

_PROFILES = {
    "default": dict(precision=4, threshold=1000, edgeitems=3, linewidth=80),
    "short": dict(precision=2, threshold=1000, edgeitems=2, linewidth=80),
    "full": dict(precision=4, threshold=2**62, edgeitems=3, linewidth=80),
}


def set_printoptions(precision=None, threshold=None, edgeitems=None, linewidth=None, profile=None, sci_mode=None) -> None:
    """Set how tensors are printed, as torch's function of the name.

    precision: digits after the point (4). threshold: elements above which the middle is left out (1000). edgeitems:
    how many are shown at each end then (3). linewidth: characters of a line (80). profile: "default", "short" or
    "full". sci_mode: True or False forces scientific notation on or off; None lets the numbers decide.
    """
    options = dict(_PROFILES[profile]) if profile is not None else {}
    given = dict(precision=precision, threshold=threshold, edgeitems=edgeitems, linewidth=linewidth)
    options.update({name: value for name, value in given.items() if value is not None})
    limit = options.get("threshold")
    if limit is not None:
        options["threshold"] = int(min(limit, 2**62))
    _ferrograd._set_printoptions(options, sci_mode)
