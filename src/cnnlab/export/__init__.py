"""From a trained classifier to the files that ship: ONNX, its features twin, int8, and other forms of them."""
