from tests.store.conftest import any_small, no_waiting_for_the_disk, small

__all__ = ["any_small", "no_waiting_for_the_disk", "small"]
