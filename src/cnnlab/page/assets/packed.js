// Numbers and files out of text, for the page and its worker.

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

/** float16 in base64 as numbers. */
function halves(text) {
  const raw = new Uint16Array(bytes(text).buffer);
  return Float32Array.from(raw, (half) => {
    const exponent = (half >> 10) & 31,
      fraction = half & 1023,
      size = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024);
    return half & 0x8000 ? -size : size;
  });
}
