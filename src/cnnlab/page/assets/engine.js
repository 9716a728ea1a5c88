// What the live parts share: the worker that computes, one request at a time, and pixels on canvases.

const LIVE = DATA.live && DATA.live.network ? DATA.live : null;

/** The worker, started once the page stands: call(task, values) gives its answer; buffers in `moved` are handed over. */
const engine = (() => {
  const waiting = new Map();
  let worker = null,
    count = 0,
    ready = null;
  const call = (task, values = {}, moved = []) =>
    new Promise((resolve, reject) => {
      waiting.set(++count, { resolve, reject });
      worker.postMessage({ id: count, task, ...values }, moved);
    });
  const source = (id) => document.getElementById(id).textContent;
  function start() {
    const address = URL.createObjectURL(new Blob([source("worker")], { type: "text/javascript" }));
    worker = new Worker(address);
    worker.addEventListener("message", ({ data: { id, value, error } }) => {
      const { resolve, reject } = waiting.get(id);
      waiting.delete(id);
      if (error) reject(new Error(error));
      else resolve(value);
    });
    const { network, vae } = LIVE,
      { x, y } = DATA.maps.networks[network.name].methods.tsne[network.map.layer];
    return call("start", {
      script: source("blob-script"),
      wasm: source("blob-wasm"),
      network: { ...network, map: { ...network.map, x, y }, model: source("blob-network") },
      vae: vae.shape ? { ...vae, decoder: source("blob-decoder"), encoder: source("blob-encoder") } : {},
    });
  }
  return {
    call,
    /** A promise that the models are open. */
    ready: () => (ready ??= start()),
  };
})();

/** A function that asks for a run of `task`: of all requests during a run, one more run answers the last.
 * task(superseded) may ask whether a newer request waits; failed(error) is told what a run throws. */
function latest(task, failed) {
  let running = false,
    waiting = false;
  return async () => {
    waiting = true;
    if (running) return;
    running = true;
    while (waiting) {
      waiting = false;
      try {
        await engine.ready();
        await task(() => waiting);
      } catch (error) {
        failed(error);
      }
    }
    running = false;
  };
}

/** RGBA values on a canvas of that size. */
function paint(canvas, rgba, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d").putImageData(new ImageData(rgba, width), 0, 0);
}

/** Values 0 … 255 of [channels × height × width] as RGBA; of two or four channels, the first in grey. */
function rgbaOf(values, [channels, height, width]) {
  const plane = height * width,
    step = channels === 3 ? plane : 0,
    rgba = new Uint8ClampedArray(4 * plane).fill(255);
  for (let i = 0; i < plane; i++) for (let c = 0; c < 3; c++) rgba[4 * i + c] = values[c * step + i];
  return rgba;
}
