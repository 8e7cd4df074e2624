// The page of a job: two sounds, one player, and one key that switches between them.
import { audio, follow, load, show } from "./player.js";
import { rate } from "./page.js";

const sounds = new Map([...document.querySelectorAll("[data-sound]")].map((part) => [part.dataset.sound, part]));
const toggle = document.getElementById("toggle");
const position = document.getElementById("position");
let chosen = sounds.keys().next().value;

async function choose(which) {
  chosen = which;
  for (const button of document.querySelectorAll("[data-which]")) {
    button.setAttribute("aria-pressed", String(button.dataset.which === which));
  }
  await show(sounds.get(which).dataset.src, { position: audio.currentTime, plays: !audio.paused });
}

async function playOrPause() {
  if (!audio.paused) audio.pause();
  else await show(sounds.get(chosen).dataset.src, { position: audio.ended ? 0 : audio.currentTime, plays: true });
}

function draw() {
  const share = audio.duration ? (100 * audio.currentTime) / audio.duration : 0;
  for (const [which, part] of sounds) {
    part.classList.toggle("is-heard", which === chosen);
    part.querySelector(".cursor").style.left = `${share}%`;
  }
  position.textContent = `${audio.currentTime.toFixed(2)} s of ${(audio.duration || 0).toFixed(2)} s`;
  toggle.textContent = audio.paused ? "Play" : "Pause";
  toggle.setAttribute("aria-pressed", String(!audio.paused));
}

// The step of 1, 2 or 5 times a power of ten that divides a length into at most `most` parts.
function stepFor(length, most) {
  const power = 10 ** Math.floor(Math.log10(length / most));
  return [1, 2, 5, 10].map((n) => n * power).find((step) => length / step <= most);
}

function tick(parent, text, side, share) {
  const label = document.createElement("span");
  label.textContent = text;
  label.style[side] = `${100 * share}%`;
  parent.append(label);
}

// Label the spectrogram's axes: frequencies at its left edge, seconds below it.
async function drawAxes(part) {
  const answer = await fetch(part.dataset.peaks);
  if (!answer.ok) return;
  const { duration_s: duration, sample_rate_hz: rate } = await answer.json();
  const highest = rate / 2;
  const stepHz = stepFor(highest, 5);
  for (let hz = stepHz; hz < 0.97 * highest; hz += stepHz) {
    tick(part.querySelector(".heights"), hz >= 1000 ? `${hz / 1000} kHz` : `${hz} Hz`, "bottom", hz / highest);
  }
  const stepS = stepFor(duration, 5);
  const decimals = Math.max(0, -Math.floor(Math.log10(stepS)));
  for (let n = 0; n * stepS < duration - 0.4 * stepS; n += 1) {
    tick(part.querySelector(".times"), `${(n * stepS).toFixed(decimals)} s`, "left", (n * stepS) / duration);
  }
  tick(part.querySelector(".times"), `${duration.toFixed(Math.max(2, decimals))} s`, "left", 1);
}

if (toggle) {
  toggle.addEventListener("click", playOrPause);
  for (const button of document.querySelectorAll("[data-which]")) {
    button.addEventListener("click", () => choose(button.dataset.which));
  }
  for (const part of sounds.values()) {
    part.querySelector(".pictures").addEventListener("click", async (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      await choose(part.dataset.sound);
      audio.currentTime = ((event.clientX - box.left) / box.width) * audio.duration;
    });
    load(part.dataset.src);
    drawAxes(part);
  }
  follow(draw);
  choose(chosen);
}

document.addEventListener("keydown", async (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select, textarea")) return;
  const others = [...sounds.keys()].filter((which) => which !== chosen);
  const field = document.querySelector("[data-rates]");
  if (event.key === " " && toggle && !event.target.closest("button, a")) {
    event.preventDefault();
    await playOrPause();
  } else if (event.key.toLowerCase() === "a" && others.length) {
    await choose(others[0]);
  } else if (/^[1-5]$/.test(event.key) && !field.querySelector("[disabled]")) {
    await rate(field, Number(event.key));
  }
});
