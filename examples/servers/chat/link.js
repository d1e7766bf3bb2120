// One way to the chat, over whatever goes: a WebSocket, or long polling. It comes back by itself
// when the connection is lost, later and later. The page (chat.js) sees events and states only.

const FIRST_PAUSE = 500; // ms until the first attempt to come back; it doubles
const LONGEST_PAUSE = 15000;
const OPENING = 6000; // ms until a WebSocket that does not open has failed
const FINAL = new Set([1000, 4400, 4409, 4410]); // codes after which coming back makes no sense

export class Link {
  // who: {name, room, key}; transport: "poll" if there is to be no WebSocket;
  // heard: is called with each event; changed: with each new state, and the ms until the next
  // attempt. States are "connecting", "open", "waiting" and "over".
  constructor(who, transport, heard, changed) {
    this.who = who;
    this.transport = transport;
    this.heard = heard;
    this.changed = changed;
    this.over = false;
    this.opened = false; // in this attempt
    this.socketWorks = null; // not known yet
    this.retryNow = () => {};
    addEventListener("online", () => this.retryNow());
    addEventListener("offline", () => this.stop?.());
  }

  get polling() {
    return this.transport === "poll" || this.socketWorks === false;
  }

  async run() {
    for (let pause = FIRST_PAUSE; !this.over; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      this.changed("connecting");
      this.opened = false;
      try {
        await (this.polling ? this.poll() : this.speak());
      } catch {
        // the server cannot be reached, or is no longer there
      }
      this.transmit = null;
      if (this.over) break;
      if (this.opened) pause = FIRST_PAUSE;
      // A WebSocket that has never opened may be kept from it: try both ways in turn.
      else if (this.socketWorks !== true) this.socketWorks = this.socketWorks === null ? false : null;
      const wait = pause * (0.75 + Math.random() / 2); // so that not all come back at once
      this.changed("waiting", wait);
      await this.sleep(wait);
    }
    this.changed("over");
  }

  // Send a request; whether it went out.
  async send(request) {
    if (!this.opened || !this.transmit) return false;
    return this.transmit(JSON.stringify(request));
  }

  leave() {
    this.send({ type: "leave" });
    this.over = true;
    this.stop?.();
    this.retryNow();
  }

  take(event) {
    if (event.type === "welcome") {
      this.opened = true;
      this.changed("open");
    }
    if (event.type === "ended" && FINAL.has(event.code)) this.over = true;
    this.heard(event);
  }

  // Over a WebSocket, until it is closed.
  speak() {
    return new Promise((resolve) => {
      const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
      const late = setTimeout(() => socket.close(), OPENING);
      socket.onopen = () => {
        clearTimeout(late);
        this.socketWorks = true;
        socket.send(JSON.stringify({ type: "join", ...this.who }));
      };
      socket.onmessage = (message) => this.take(JSON.parse(message.data));
      socket.onclose = () => {
        clearTimeout(late);
        resolve();
      };
      this.transmit = (text) => {
        if (socket.readyState !== WebSocket.OPEN) return false;
        socket.send(text);
        return true;
      };
      this.stop = () => socket.close(1000);
    });
  }

  // By long polling, until the session ends.
  async poll() {
    const control = new AbortController();
    const joined = await post("/poll/join", JSON.stringify({ type: "join", ...this.who }), control);
    const answer = await joined.json();
    if (!joined.ok) return this.take(answer);
    const url = `/poll/${answer.token}`;
    let line = Promise.resolve(true); // requests go one after the other, as they were made
    this.transmit = (text) => {
      line = line.then(() => post(url, text, control)).then((sent) => sent.ok, () => false);
      return line;
    };
    this.stop = () => line.then(() => control.abort());
    addEventListener("pagehide", () => navigator.sendBeacon(url, '{"type":"leave"}'), { signal: control.signal });
    try {
      for (let after = 0; !control.signal.aborted; ) {
        const response = await fetch(`${url}?after=${after}`, { signal: control.signal, cache: "no-store" });
        if (!response.ok) return;
        const news = await response.json();
        news.events.forEach((event) => this.take(event));
        if (news.events.some((event) => event.type === "ended")) return;
        after = news.after;
      }
    } finally {
      control.abort();
    }
  }

  sleep(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.retryNow = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function post(url, body, control) {
  return fetch(url, { method: "POST", body, signal: control.signal });
}
