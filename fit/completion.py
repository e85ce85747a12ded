"""What a shell completes in `fit`: values of options, from the values of the options before them."""

from collections.abc import Iterable, Mapping

from fit.heads.table import HEADS


def complete_head(_: Mapping[str, object]) -> Iterable[str]:
    """The names of the table."""
    return HEADS


def complete_output(given: Mapping[str, object]) -> Iterable[str]:
    """The columns of features of the stores that --features names."""
    from store.reader import open_store

    places = given["features"]
    stores = places if isinstance(places, list | tuple) else [places]
    return dict.fromkeys(name for store in stores for name in open_store(str(store)).outputs)
