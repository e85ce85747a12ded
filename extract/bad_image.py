"""The error of one image: it becomes a failure row and never ends a run."""


class BadImage(Exception):
    """An image that gives no row: `code` for programs, `message` for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
