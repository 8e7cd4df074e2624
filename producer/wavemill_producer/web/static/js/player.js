// One <audio> for the whole page: many of them exhaust a browser's decoders.
const audio = new Audio();
const sounds = new Map(); // URL -> object URL of its bytes, so that a switch needs no network
const MOST_SOUNDS = 20;
let wanted = ""; // the URL asked for last

export { audio };

export async function load(url) {
  if (sounds.has(url)) return sounds.get(url);
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`the sound cannot be read (${answer.status})`);
  const local = URL.createObjectURL(await answer.blob());
  sounds.set(url, local);
  if (sounds.size > MOST_SOUNDS) {
    const [oldest, old] = sounds.entries().next().value;
    if (old !== audio.src) {
      sounds.delete(oldest);
      URL.revokeObjectURL(old);
    }
  }
  return local;
}

// Load a sound and go to a position in it, in seconds; play on if `plays`.
export async function show(url, { position = 0, plays = false } = {}) {
  wanted = url;
  const local = await load(url);
  if (wanted !== url) return; // another sound was asked for meanwhile
  if (audio.src !== local) {
    const loaded = new Promise((done) => audio.addEventListener("loadedmetadata", done, { once: true }));
    audio.src = local;
    await loaded;
  }
  audio.currentTime = Math.min(position, audio.duration || 0);
  if (plays) await audio.play().catch(ignoreInterruption);
}

// A pause or another sound may come before playing has begun.
function ignoreInterruption(error) {
  if (error.name !== "AbortError") throw error;
}

export function current() {
  return wanted;
}

// Call `tick` before each picture while the sound plays, and once when it stops.
export function follow(tick) {
  const step = () => {
    tick();
    if (!audio.paused) requestAnimationFrame(step);
  };
  audio.addEventListener("play", step);
  for (const kind of ["pause", "ended", "seeked", "loadedmetadata"]) audio.addEventListener(kind, tick);
}
