"""Settings of the library.

`fusion` says from how many elements on element-wise operations wait until somebody looks at a result, so that several of them
run as one program. Results have the same bits either way; turning it off helps to find out where time goes.

>>> import ferrograd
>>> ferrograd.config.set_fusion(False)
>>> ferrograd.config.fusion_elements() is None
True
>>> ferrograd.config.set_fusion(True)
>>> ferrograd.config.fusion_elements()
32768
"""

from . import _ferrograd

_ELEMENTS = 32 * 1024


def fusion_elements() -> int | None:
    """Elements from which element-wise operations wait to be fused; None where they never do."""
    return _ferrograd._fusion_elements()


def set_fusion(enabled: bool, elements: int = _ELEMENTS) -> None:
    """Lets element-wise operations on at least `elements` elements wait to be fused, or none.

    The environment says the same before the start: `FERROGRAD_FUSION=0` turns fusion off, `FERROGRAD_FUSION_ELEMENTS` sets the
    number of elements.
    """
    if elements < 2:
        raise ValueError(f"set_fusion: elements must be at least 2, got {elements}")
    _ferrograd._set_fusion_elements(elements if enabled else None)
