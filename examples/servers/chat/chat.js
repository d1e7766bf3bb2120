// The page. All that others have written goes into it as text, never as HTML.

import { Link } from "/link.js";

const $ = (id) => document.getElementById(id);
const TYPING_EVERY = 2000; // ms between two words that somebody is typing
const TYPING_LASTS = 3500;
const TOGETHER = 120; // seconds within which messages of one member stand together
const MOST_LINES = 500; // on the page
const HUES = 14;
const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const options = new URLSearchParams(location.search);

let link = null;
let own = "";
let born = null; // which room it is: a name can be given again when a room is gone
let seen = 0; // the number of the last message
let last = null; // the last message, for what follows it
let names = [];
let count = 0;
let typedAt = 0;
const colours = new Map(); // names, and their hues
const typing = new Map(); // names, and the timers that end them

// ---- coming and going

$("name").value = options.get("name") ?? stored("name");
$("room").value = options.get("room") ?? (stored("room") || "lobby");
($("name").value ? $("room") : $("name")).focus();

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  const who = { name: $("name").value.trim(), room: $("room").value.trim(), key: secret() };
  store("name", who.name);
  store("room", who.room);
  $("refusal").textContent = "";
  own = who.name;
  link = new Link(who, options.get("transport"), heard, changed);
  link.run();
});

$("leave").addEventListener("click", () => {
  link.leave();
  showDoor("");
});

function showDoor(why) {
  link = null;
  for (const name of [...typing.keys()]) stopTyping(name);
  $("app").hidden = true;
  $("door").hidden = false;
  $("refusal").textContent = why;
  document.title = "Chat";
  showPeople(false);
  $("name").focus();
}

function showRoom(room) {
  if (!$("app").hidden) return;
  $("door").hidden = true;
  $("app").hidden = false;
  $("title").textContent = room;
  document.title = `${room} – Chat`;
  $("log").replaceChildren();
  last = born = null;
  colours.clear();
  seen = 0;
  $("text").focus();
}

function changed(state, ms) {
  const texts = {
    connecting: "connecting…",
    open: link?.polling ? "connected, by polling" : "connected",
    waiting: `connection lost; next try in ${Math.ceil((ms ?? 0) / 1000)} s`,
    over: "not connected",
  };
  document.body.dataset.state = state;
  $("state-text").textContent = texts[state];
  if (!$("door").hidden && state === "waiting") $("refusal").textContent = "The server cannot be reached.";
  if (state === "waiting") for (const name of [...typing.keys()]) stopTyping(name);
}

// ---- events

const hear = {
  welcome(event) {
    showRoom(event.room);
    own = event.name;
    setPeople(event.names, event.count);
    if (born !== event.born) seen = 0;
    born = event.born;
  },
  said(event) {
    if (event.id <= seen) return; // it came before the connection was lost
    seen = event.id;
    stopTyping(event.name);
    addMessage(event);
  },
  joined(event) {
    setPeople([...names, event.name], count + 1);
    addLine(`${event.name} joined`);
  },
  left(event) {
    setPeople(names.filter((name) => name !== event.name), count - 1);
    stopTyping(event.name);
    addLine(`${event.name} left${event.why ? `: ${event.why}` : ""}`);
  },
  members(event) {
    setPeople(event.names, event.count);
  },
  typing(event) {
    clearTimeout(typing.get(event.name));
    typing.set(event.name, setTimeout(() => stopTyping(event.name), TYPING_LASTS));
    showTyping();
  },
  notice(event) {
    addLine(event.text, "notice");
  },
  ended(event) {
    if (link?.over) showDoor(event.code === 1000 ? "" : sentence(event.text));
    else addLine(event.text, "notice");
  },
};

function heard(event) {
  if (link !== null) hear[event.type]?.(event);
}

// ---- the log

function addMessage({ name, text, at }) {
  const item = make("li", name === own ? "said own" : "said");
  item.style.setProperty("--hue", hue(name));
  const follows = last?.name === name && at - last.at < TOGETHER;
  item.classList.toggle("follows", follows);
  if (!follows) {
    const avatar = make("span", "avatar", [...name][0].toUpperCase());
    avatar.ariaHidden = "true";
    item.append(avatar, make("span", "name", name));
  }
  const bubble = make("div", "bubble");
  const time = make("time", "", clock.format(new Date(at * 1000)));
  time.dateTime = new Date(at * 1000).toISOString();
  const words = make("span", "text", text);
  words.dir = "auto";
  bubble.append(words, time);
  item.append(bubble);
  last = { name, at };
  add(item, name === own);
}

function addLine(text, kind = "") {
  last = null;
  add(make("li", `line ${kind}`, text), false);
}

function add(item, follow) {
  const log = $("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  log.append(item);
  while (log.childElementCount > MOST_LINES) log.firstElementChild.remove();
  if (atEnd || follow) toEnd();
  else $("newer").hidden = false;
}

function toEnd() {
  $("log").scrollTop = $("log").scrollHeight;
  $("newer").hidden = true;
}

$("newer").addEventListener("click", toEnd);
$("log").addEventListener("scroll", () => {
  const log = $("log");
  if (log.scrollHeight - log.scrollTop - log.clientHeight < 8) $("newer").hidden = true;
});
new ResizeObserver(() => {
  if ($("newer").hidden) toEnd(); // a keyboard on the screen has come or gone
}).observe($("log"));

// ---- writing

$("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text || document.body.dataset.state !== "open") return;
  $("text").value = "";
  typedAt = 0;
  grow();
  if (!(await link.send({ type: "say", text })) && !$("text").value) {
    $("text").value = text; // it did not go out
    grow();
  }
});

$("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("say").requestSubmit();
});

$("text").addEventListener("input", () => {
  grow();
  const left = $("text").maxLength - $("text").value.length;
  $("room-left").textContent = left <= 100 ? left : "";
  if ($("text").value.trim() && Date.now() - typedAt > TYPING_EVERY) {
    typedAt = Date.now();
    link.send({ type: "typing" });
  }
});

function grow() {
  const text = $("text");
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight + text.offsetHeight - text.clientHeight}px`;
}

// ---- who is there, and who is typing

function setPeople(list, number) {
  names = list;
  count = number;
  $("count").textContent = $("count-too").textContent = count.toLocaleString();
  const sorted = [...names].sort((a, b) => (b === own) - (a === own) || a.localeCompare(b));
  $("names").replaceChildren(...sorted.map(person));
  $("more").textContent = count > names.length ? `and ${(count - names.length).toLocaleString()} more` : "";
}

function person(name) {
  const item = make("li", "person");
  item.style.setProperty("--hue", hue(name));
  const avatar = make("span", "avatar", [...name][0].toUpperCase());
  avatar.ariaHidden = "true";
  item.append(avatar, make("span", "name", name));
  if (name === own) item.append(make("span", "you", "you"));
  return item;
}

function stopTyping(name) {
  clearTimeout(typing.get(name));
  if (typing.delete(name)) showTyping();
}

function showTyping() {
  const who = [...typing.keys()];
  const verb = who.length === 1 ? "is typing…" : "are typing…";
  const text = who.length > 3 ? "Several people" : who.join(" and ");
  $("typing").textContent = who.length ? `${text} ${verb}` : "";
}

function showPeople(shown) {
  document.body.classList.toggle("people-shown", shown);
  $("shade").hidden = !shown;
  for (const behind of document.querySelectorAll("header, #app > main")) behind.inert = shown;
  $("show-people").ariaExpanded = String(shown);
  if (shown) $("hide-people").focus();
}

$("show-people").addEventListener("click", () => showPeople(!document.body.classList.contains("people-shown")));
$("hide-people").addEventListener("click", hidePeople);
$("shade").addEventListener("click", hidePeople);
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.body.classList.contains("people-shown")) hidePeople();
});

function hidePeople() {
  showPeople(false);
  $("show-people").focus();
}

// ---- small things

function make(tag, kind, text = "") {
  const element = document.createElement(tag);
  element.className = kind;
  element.textContent = text;
  return element;
}

// Colours that can be told apart are few. A name's hash (FNV-1a) says which is its own; if
// another name has that one here, it gets the next that is free.
function hue(name) {
  if (colours.has(name)) return colours.get(name);
  let hash = 0x811c9dc5;
  for (const letter of name.toLowerCase()) hash = Math.imul(hash ^ letter.codePointAt(0), 0x01000193);
  const used = new Set(colours.values());
  let place = (hash >>> 3) % HUES;
  for (let tried = 0; used.has(place * (360 / HUES)) && tried < HUES; tried++) place = (place + 5) % HUES;
  colours.set(name, place * (360 / HUES));
  return colours.get(name);
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}

// By this, whoever comes back after the connection was lost gets the same name again.
function secret() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function stored(what) {
  try {
    return localStorage.getItem(`chat-${what}`) ?? "";
  } catch {
    return ""; // some browsers keep nothing
  }
}

function store(what, value) {
  try {
    localStorage.setItem(`chat-${what}`, value);
  } catch {
    // as above
  }
}
