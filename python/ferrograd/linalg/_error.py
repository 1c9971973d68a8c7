"""The error of linear algebra."""


class LinAlgError(RuntimeError):
    """What torch raises of matrices that have no inverse or no decomposition. No function here computes one; programs that
    catch it can name it.

    >>> issubclass(LinAlgError, RuntimeError)
    True
    """
