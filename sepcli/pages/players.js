"use strict";
/* Players of the clips in a page, all on the clock of one AudioContext: a deck has voices that start together. */
(() => {
  const LEAD = 0.15; // seconds ahead of a start: a late one would put its voice behind the others
  let context = null;
  let playing = null; // the deck that plays
  let latest = null; // the deck that was used last

  const clock = (s) => `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, "0")}`;
  const pressed = (button) => button.getAttribute("aria-pressed") === "true";
  const press = (button, on) => button.setAttribute("aria-pressed", String(on));

  class Voice {
    constructor(element, deck) {
      Object.assign(this, { element, deck, buffer: null, gain: null, source: null });
      this.mute = element.querySelector(".mute");
      this.solo = element.querySelector(".solo");
      this.volume = element.querySelector(".volume");
      this.cursor = element.querySelector(".cursor");
      this.now = element.querySelector(".now");
      this.confidence = JSON.parse(element.dataset.confidence || "[]");
      for (const button of [this.mute, this.solo]) {
        button.addEventListener("click", () => { press(button, !pressed(button)); deck.mix(); });
      }
      this.volume.addEventListener("input", () => deck.mix());
      element.querySelector(".strip").addEventListener("pointerdown", (event) => {
        const box = event.currentTarget.getBoundingClientRect();
        deck.seek(deck.seconds * (event.clientX - box.left) / box.width);
      });
    }

    get audible() { return this.deck.voices.some((v) => pressed(v.solo)) ? pressed(this.solo) : !pressed(this.mute); }

    async load() {
      if (this.buffer) return;
      const text = document.getElementById(this.element.dataset.clip).textContent;
      const bytes = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
      this.buffer = await context.decodeAudioData(bytes.buffer);
      this.gain ??= new GainNode(context, { gain: 0 });
      this.gain.connect(this.deck.output);
    }

    start(when, offset) {
      this.stop();
      if (offset >= this.buffer.duration) return;
      this.source = new AudioBufferSourceNode(context, { buffer: this.buffer });
      this.source.connect(this.gain);
      this.source.start(when, offset);
    }

    stop() {
      if (!this.source) return;
      this.source.stop();
      this.source.disconnect();
      this.source = null;
    }

    level() {
      const value = this.audible ? Number(this.volume.value) : 0;
      this.gain?.gain.setTargetAtTime(value, context.currentTime, 0.008);
      this.element.classList.toggle("silent", !this.audible);
    }

    show(position) {
      this.cursor.style.left = `${100 * position / this.deck.seconds}%`;
      if (!this.confidence.length) return;
      const value = this.confidence[Math.floor(Math.min(position, this.confidence.length - 0.01))];
      this.now.textContent = value === null ? "confidence –" : `confidence ${value.toFixed(1)} dB`;
    }
  }

  class Deck {
    constructor(root) {
      Object.assign(this, { root, position: 0, origin: 0, turn: 0, output: null });
      this.seconds = Number(root.dataset.seconds);
      this.button = root.querySelector(".play");
      this.slider = root.querySelector(".seek");
      this.time = root.querySelector(".time");
      this.master = root.querySelector(".master");
      this.voices = [...root.querySelectorAll(".voice")].map((element) => new Voice(element, this));
      this.button.addEventListener("click", () => this.toggle());
      this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
      this.master.addEventListener("input", () => this.mix());
      root.querySelectorAll(".choose input").forEach((radio) => radio.addEventListener("change", () => {
        for (const voice of this.voices) {
          press(voice.solo, false);
          press(voice.mute, !(radio.value === "all" || voice.element.dataset.group === radio.value));
        }
        this.mix();
      }));
      root.addEventListener("focusin", () => { latest = this; });
      this.mix();
      this.show();
    }

    toggle() { return playing === this ? this.pause() : this.play(); }

    async play() {
      if (playing) playing.pause();
      playing = latest = this;
      const turn = ++this.turn;
      context ??= new AudioContext();
      if (!this.output) {
        this.output = new GainNode(context);
        this.output.connect(context.destination);
      }
      this.state("Pause");
      const wanted = this.voices.filter((voice) => voice.audible);
      await Promise.all([context.resume(), ...wanted.map((voice) => voice.load())]);
      if (turn !== this.turn) return;
      if (this.position >= this.seconds - 0.01) this.position = 0;
      this.schedule();
      requestAnimationFrame(() => this.tick(turn));
    }

    schedule() {
      const when = context.currentTime + LEAD;
      this.origin = when - this.position;
      for (const voice of this.voices) if (voice.buffer) voice.start(when, this.position);
      this.mix();
    }

    pause() {
      this.turn += 1;
      this.voices.forEach((voice) => voice.stop());
      if (playing === this) playing = null;
      this.state("Play");
    }

    tick(turn) {
      if (turn !== this.turn) return;
      this.position = Math.max(context.currentTime - this.origin, 0);
      if (this.position >= this.seconds) {
        this.position = this.seconds;
        this.pause();
      } else requestAnimationFrame(() => this.tick(turn));
      this.show();
    }

    seek(seconds) {
      this.position = Math.min(Math.max(seconds, 0), this.seconds);
      if (playing === this && this.output && this.voices.some((voice) => voice.source)) this.schedule();
      this.show();
    }

    mix() {
      if (this.output) this.output.gain.setTargetAtTime(Number(this.master.value), context.currentTime, 0.008);
      for (const voice of this.voices) {
        voice.level();
        if (playing !== this || !voice.audible || voice.buffer || !context) continue;
        const turn = this.turn;
        voice.load().then(() => { // a voice that joins later starts where the others are
          if (turn !== this.turn || voice.source) return;
          const when = context.currentTime + LEAD;
          voice.start(when, when - this.origin);
          voice.level();
        });
      }
    }

    state(text) { this.button.textContent = text; }

    show() {
      this.slider.value = this.position;
      this.slider.setAttribute("aria-valuetext", clock(this.position));
      this.time.textContent = `${clock(this.position)} / ${clock(this.seconds)}`;
      this.voices.forEach((voice) => voice.show(this.position));
    }
  }

  const decks = [...document.querySelectorAll(".deck")].map((root) => new Deck(root));
  document.addEventListener("keydown", (event) => {
    const deck = latest ?? decks[0];
    const inside = event.target === document.body || event.target.closest?.(".deck") === deck?.root;
    if (!deck || !inside || event.ctrlKey || event.metaKey || event.altKey) return;
    const control = event.target.closest("button, input, summary, a");
    if (event.key === " " && !control) deck.toggle();
    else if (event.key === "ArrowLeft" && control?.tagName !== "INPUT") deck.seek(deck.position - 5);
    else if (event.key === "ArrowRight" && control?.tagName !== "INPUT") deck.seek(deck.position + 5);
    else return;
    event.preventDefault();
  });
})();
