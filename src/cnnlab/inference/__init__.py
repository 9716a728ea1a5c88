"""Inference through onnxruntime: open an exported network, prepare pictures, predict. Never imports torch."""

from cnnlab.inference.session import Model, open_session, session_of

__all__ = ["Model", "open_session", "session_of"]
