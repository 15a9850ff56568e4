/** The transcript as it is being edited, and how it was before each step. Steps are whole states; they share what did not change. */

/** @typedef {import("./model.js").State} State */
/** @typedef {{ state: State, passed: number }} Step passed: how many changes of others it has in it */

const MOST = 200;
const PAUSE = 2000; // ms without a key, behind which typing is another step
const LONGEST = 40; // keys of one step

/** Events: `change`. */
export class History extends EventTarget {
  /** @param {State} state */
  constructor(state) {
    super();
    this.state = state;
    /** @type {Step[]} */
    this._done = [];
    /** @type {Step[]} */
    this._undone = [];
    /** @type {((state: State) => State)[]} */
    this._others = [];
    this._group = "";
    this._at = 0;
    this._keys = 0;
  }

  get canUndo() {
    return this._done.length > 0;
  }

  get canRedo() {
    return this._undone.length > 0;
  }

  /**
   * @param {Partial<State>} change
   * @param {string} [group] of typing: what comes soon after another of the same group is one step with it
   */
  apply(change, group = "") {
    const now = performance.now();
    if (group === "" || group !== this._group || now - this._at > PAUSE || ++this._keys > LONGEST) {
      this._done.push(this._step());
      this._keys = 1;
    }
    if (this._done.length > MOST) this._done.shift();
    this._undone = [];
    this._group = group;
    this._at = now;
    this._show({ ...this.state, ...change });
  }

  /** What is typed from now on is another step. */
  rest() {
    this._group = "";
  }

  undo() {
    this._move(this._done, this._undone);
  }

  redo() {
    this._move(this._undone, this._done);
  }

  /**
   * What others have done, or what cannot be undone: it is no step, and all steps before have it too.
   * @param {(state: State) => State} change
   * @param {State} [state] as it is now with it
   */
  pass(change, state = change(this.state)) {
    this._others.push(change);
    this._group = "";
    this._show(state);
  }

  _step() {
    return { state: this.state, passed: this._others.length };
  }

  /**
   * @param {Step[]} from
   * @param {Step[]} to
   */
  _move(from, to) {
    const step = from.pop();
    if (step === undefined) return;
    to.push(this._step());
    this._group = "";
    this._show(this._others.slice(step.passed).reduce((state, change) => change(state), step.state));
  }

  /** @param {State} state */
  _show(state) {
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }
}
