"""Errors of the model package; messages are safe to show and say what is wrong, where, and how to mend it."""


class ModelError(ValueError):
    """Something about the model or a request to it is wrong."""


class CheckpointError(ModelError):
    """A checkpoint folder cannot be used; the message names every missing, extra or misshapen tensor."""


class PromptError(ModelError):
    """Messages and media of a request do not fit together."""


class ContextLengthError(ModelError):
    """A prompt has more tokens than the model's context takes."""


class EngineClosedError(ModelError):
    """The engine was closed while, or before, the request was served."""
