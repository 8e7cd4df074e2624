// The listening grid. Only the cells in sight exist, however many sounds there are.
import { audio, current, follow, load, show } from "./player.js";
import { write } from "./writes.js";

const grid = document.getElementById("grid");
const count = document.getElementById("count");
const help = document.getElementById("help");
const root = document.body.dataset.root;
const mayWrite = grid.dataset.writes === "true";
const WIDTH = 220; // of a cell, at least, in pixels
const HEIGHT = 148;
const AHEAD = 300; // jobs that are read before they come into sight
const QUIET = 0.003; // full scale is 1
const REST_MS = 100; // after the last scroll, before pictures are asked for
const jobs = []; // of each only what the grid shows: there may be many thousands
const cells = new Map(); // number of a job -> its element
let chosen = 0;
let which = "generated";
let after = 0; // null once all jobs are read
let reading = null;
let peaks = null; // of the sound that plays
let resting = 0; // the timer that waits for the end of a scroll
let isFresh = true; // nothing was drawn yet

const api = (job, what) => `${root}/api/v1/jobs/${job.id}/${what}`;
const sound = (job) => `${api(job, `audio/${which}`)}?v=${which === "original" ? job.original_sha256 : job.sha256}`;
const columns = () => Math.max(1, Math.floor(grid.clientWidth / WIDTH));

async function readMore() {
  if (after === null || reading) return reading;
  reading = (async () => {
    const answer = await fetch(`${grid.dataset.jobs}&after=${after}`);
    if (!answer.ok) throw new Error((await answer.json()).error.message);
    const page = await answer.json();
    for (const job of page.jobs) {
      const { id, spectrogram_id, sha256, original_sha256, rating } = job;
      const hasOriginal = Boolean(job.original_path);
      if (job.generated_path) jobs.push({ id, spectrogram_id, sha256, original_sha256, rating, hasOriginal });
    }
    after = page.after;
  })();
  try {
    await reading;
  } catch (error) {
    count.textContent = error.message;
    after = null;
    return;
  } finally {
    reading = null;
  }
  count.textContent = `${jobs.length}${after === null ? "" : " or more"} sounds`;
  draw();
}

function draw() {
  const across = columns();
  const rows = Math.ceil(jobs.length / across);
  grid.style.setProperty("--height", `${rows * HEIGHT}px`);
  const top = Math.max(0, -grid.getBoundingClientRect().top);
  const first = Math.max(0, Math.floor(top / HEIGHT) - 1) * across;
  const last = Math.min(jobs.length, (Math.ceil((top + innerHeight) / HEIGHT) + 1) * across);
  for (const [number, cell] of cells) {
    if (number < first || number >= last) {
      cell.querySelector("img").removeAttribute("src"); // or the browser keeps the picture's pixels
      cell.remove();
      cells.delete(number);
    }
  }
  for (let number = first; number < last; number += 1) {
    if (!cells.has(number)) cells.set(number, make(number));
    const cell = cells.get(number);
    cell.style.transform = `translate(${((number % across) * grid.clientWidth) / across}px, ${Math.floor(number / across) * HEIGHT}px)`;
    cell.style.width = `${grid.clientWidth / across - 10}px`;
    mark(number);
  }
  clearTimeout(resting);
  resting = setTimeout(drawPictures, cells.size && isFresh ? 0 : REST_MS);
  isFresh = false;
  if (last + AHEAD > jobs.length) readMore();
}

// Pictures are drawn by the server, so those that only rush past are not asked for.
function drawPictures() {
  for (const [number, cell] of cells) {
    const image = cell.querySelector("img");
    if (!image.hasAttribute("src")) {
      const job = jobs[number];
      image.src = `${api(job, "spectrogram/generated.png")}?width=240&height=80&v=${job.sha256}`;
    }
  }
}

function make(number) {
  const job = jobs[number];
  const cell = document.createElement("div");
  cell.className = "cell";
  cell.id = `sound-${number}`;
  cell.setAttribute("role", "option");
  const image = document.createElement("img");
  image.alt = "";
  const cursor = document.createElement("span");
  cursor.className = "cursor";
  const name = document.createElement("span");
  name.className = "id";
  name.textContent = job.spectrogram_id;
  const stars = document.createElement("span");
  stars.className = "stars";
  cell.append(image, cursor, name, stars);
  cell.addEventListener("click", () => {
    choose(number);
    play();
  });
  grid.append(cell);
  return cell;
}

function mark(number) {
  const cell = cells.get(number);
  if (!cell) return;
  cell.setAttribute("aria-selected", String(number === chosen));
  cell.querySelector(".stars").textContent = "★".repeat(jobs[number].rating ?? 0);
  cell.setAttribute("aria-label", `${jobs[number].spectrogram_id}${jobs[number].rating ? `, rated ${jobs[number].rating}` : ""}`);
}

function choose(number) {
  if (number < 0 || number >= jobs.length) return;
  const before = chosen;
  chosen = number;
  const top = grid.getBoundingClientRect().top + Math.floor(number / columns()) * HEIGHT;
  if (top < 60 || top + HEIGHT > innerHeight) scrollTo({ top: scrollY + top - innerHeight / 3 });
  draw();
  mark(before);
  mark(chosen);
  grid.setAttribute("aria-activedescendant", `sound-${number}`);
}

async function play({ position = 0 } = {}) {
  const job = jobs[chosen];
  if (!job) return;
  peaks = null;
  await show(sound(job), { position, plays: true });
  if (jobs[chosen + 1]) load(sound(jobs[chosen + 1])).catch(() => {});
  const answer = await fetch(`${api(job, `peaks/${which}`)}?bins=400`);
  if (answer.ok && jobs[chosen] === job) peaks = await answer.json();
}

function skipSilence() {
  if (!peaks || audio.paused || !document.getElementById("skip").checked) return;
  const bins = peaks.lows.length;
  const isQuiet = (bin) => Math.max(peaks.highs[bin], -peaks.lows[bin]) < QUIET;
  let bin = Math.min(bins - 1, Math.floor((audio.currentTime / peaks.duration_s) * bins));
  if (!isQuiet(bin)) return;
  while (bin < bins && isQuiet(bin)) bin += 1;
  audio.currentTime = bin < bins ? (bin / bins) * peaks.duration_s : peaks.duration_s;
}

follow(() => {
  skipSilence();
  const cell = cells.get(chosen);
  if (cell && jobs[chosen] && current() === sound(jobs[chosen])) {
    cell.querySelector(".cursor").style.left = `${audio.duration ? (100 * audio.currentTime) / audio.duration : 0}%`;
  }
});
audio.addEventListener("ended", () => {
  if (document.getElementById("autoplay").checked && chosen + 1 < jobs.length) {
    choose(chosen + 1);
    play();
  }
});

async function rate(rating) {
  const job = jobs[chosen];
  await write("PUT", api(job, "rating"), { rating });
  job.rating = rating;
  mark(jobs.indexOf(job));
}

const moves = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: () => -columns(), ArrowDown: () => columns() };
document.addEventListener("keydown", async (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || help.open || event.target.closest("input, select, button, a")) return;
  const job = jobs[chosen];
  if (event.key === "?") help.showModal();
  else if (event.key in moves) {
    event.preventDefault();
    choose(chosen + moves[event.key]());
    if (!audio.paused) await play();
  } else if (event.key === " ") {
    event.preventDefault();
    if (!audio.paused) audio.pause();
    else await play({ position: job && current() === sound(job) && !audio.ended ? audio.currentTime : 0 });
  } else if (event.key.toLowerCase() === "a" && job?.hasOriginal) {
    which = which === "generated" ? "original" : "generated";
    grid.dataset.which = which;
    if (!audio.paused) await play({ position: audio.currentTime });
  } else if (/^[0-5]$/.test(event.key) && mayWrite && job) await rate(Number(event.key) || null);
  else if (event.key === "Enter" && job) location.href = `${root}/jobs/${job.id}`;
});
document.getElementById("help-open").addEventListener("click", () => help.showModal());
addEventListener("scroll", draw, { passive: true });
addEventListener("resize", draw);
readMore();
