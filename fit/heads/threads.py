"""The number of threads of matrix products."""

from contextlib import AbstractContextManager, nullcontext

from threadpoolctl import threadpool_limits

_ONE_THREAD = 2**24
"""Values of features up to which one thread is taken: 13,000 rows of 1,280."""


def few_threads(values: int) -> AbstractContextManager[object]:
    """Inside the block, BLAS computes small problems with one thread.

    Its threads wait for one another after each product, and where other programs take the cores, they wait for those:
    with two busy cores, a fit on 1,000 rows of 1,280 features took 60 times as long in two threads as in one.

    Args:
        values: how many numbers the features are.
    """
    return threadpool_limits(1, user_api="blas") if values <= _ONE_THREAD else nullcontext()
