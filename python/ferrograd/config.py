"""Settings of the library.

Element-wise operations on large tensors wait until somebody looks at a result, so that several of them run as one program:
`set_fusion` says from how many elements on. Results have the same bits either way; turning it off helps to find out where time goes.

>>> import ferrograd
>>> ferrograd.config.set_fusion(False)
>>> ferrograd.config.fusion_elements() is None
True
>>> ferrograd.config.set_fusion(True)
>>> ferrograd.config.fusion_elements()
12288
"""

from . import _ferrograd


def fusion_elements() -> int | None:
    """Elements from which element-wise operations wait to be fused; None where they never do.

    >>> import ferrograd
    >>> ferrograd.config.set_fusion(True)
    >>> fusion_elements()
    12288
    """
    return _ferrograd._fusion_elements()


def set_fusion(enabled: bool, elements: int | None = None) -> None:
    """Lets element-wise operations on at least `elements` elements (12,288 where not given) wait to be fused, or none.

    The environment says the same before the start: `FERROGRAD_FUSION=0` turns fusion off, `FERROGRAD_FUSION_ELEMENTS` sets the
    number of elements. ValueError for fewer than two elements.

    >>> set_fusion(True, 1000)
    >>> fusion_elements()
    1000
    >>> set_fusion(True)
    """
    if elements is not None and elements < 2:
        raise ValueError(f"set_fusion: elements must be at least 2, got {elements}")
    _ferrograd._set_fusion(enabled, elements)
