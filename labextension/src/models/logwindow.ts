/** A line of a log, and its size in bytes. */
export interface ILogLine {
  readonly text: string;
  readonly bytes: number;
}

// Colours and cursor moves of terminal programs: CSI and OSC sequences, and two-byte escapes.
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;

const encoder = new TextEncoder();

function bytesOf(text: string): number {
  return encoder.encode(text).length;
}

/**
 * One line as a terminal would show it: what follows a carriage return overwrites what was before it, and escape
 * sequences are dropped. It grows by pieces without keeping what was overwritten, so that a progress bar that
 * redraws itself for hours stays one short line.
 */
class Line {
  bytes = 0;

  get text(): string {
    const tail = this.tail.replace(ESCAPES, '');
    return tail + this.under.slice(tail.length);
  }

  add(piece: string): void {
    this.bytes += bytesOf(piece);
    const parts = (this.tail + piece).split('\r');
    this.tail = parts.pop() ?? '';
    for (const part of parts) {
      const plain = part.replace(ESCAPES, '');
      this.under = plain + this.under.slice(plain.length);
    }
  }

  /** The line with its line feed. */
  closed(): ILogLine {
    return { text: this.text, bytes: this.bytes + 1 };
  }

  private under = '';
  private tail = '';
}

function lineOf(piece: string): ILogLine {
  const line = new Line();
  line.add(piece);
  return line.closed();
}

/**
 * A window of lines on a log: bytes [start, end), of which at most `limit` lines are kept.
 *
 * The last line may be open: its line feed has not come yet, and more text changes it.
 */
export class LogWindow {
  constructor(readonly limit: number) {}

  /** The byte that the first line begins with. */
  start = 0;

  /** The byte behind the last one. */
  end = 0;

  /** The lines, oldest first. */
  get lines(): readonly ILogLine[] {
    return this._lines;
  }

  /** Begin again with the text of bytes [offset, nextOffset). A line cut off at its front is left out. */
  reset(text: string, offset: number, nextOffset: number): void {
    this._lines = [];
    this.open = null;
    this.start = offset;
    this.end = offset;
    const feed = offset > 0 ? text.indexOf('\n') : -1;
    this.start += bytesOf(text.slice(0, feed + 1));
    this.append(text.slice(feed + 1), nextOffset);
  }

  /**
   * Put `text` behind the window; `nextOffset` is the byte that follows it.
   *
   * Gives how many lines went off at the top and from which index on lines are new or changed.
   */
  append(text: string, nextOffset: number): { removed: number; from: number } {
    this.end = nextOffset;
    if (this.open) {
      this._lines.pop();
    }
    const from = this._lines.length;
    const pieces = text.split('\n');
    const last = pieces.pop() ?? '';
    for (const piece of pieces) {
      const line = this.open ?? new Line();
      this.open = null;
      line.add(piece);
      this._lines.push(line.closed());
    }
    if (last) {
      this.open = this.open ?? new Line();
      this.open.add(last);
    }
    if (this.open) {
      this._lines.push({ text: this.open.text, bytes: this.open.bytes });
    }
    const removed = Math.max(0, this._lines.length - this.limit);
    for (const line of this._lines.splice(0, removed)) {
      this.start += line.bytes;
    }
    return { removed, from: Math.max(0, from - removed) };
  }

  /**
   * Put the text of bytes [offset, start) before the window. A line cut off at its front is left out.
   *
   * Gives how many lines were added at the top and how many went off at the bottom.
   */
  prepend(text: string, offset: number): { added: number; removed: number } {
    const feed = offset > 0 ? text.indexOf('\n') : -1;
    // A single line longer than requested is shown from where it was cut.
    const cut = feed === text.length - 1 ? 0 : feed + 1;
    const pieces = text.slice(cut).split('\n');
    if (pieces[pieces.length - 1] === '') {
      pieces.pop();
    }
    this._lines.unshift(...pieces.map(lineOf));
    this.start = offset + bytesOf(text.slice(0, cut));
    const removed = Math.max(0, this._lines.length - this.limit);
    if (removed > 0) {
      this.open = null;
      for (const line of this._lines.splice(this.limit)) {
        this.end -= line.bytes;
      }
    }
    return { added: pieces.length, removed };
  }

  private _lines: ILogLine[] = [];
  private open: Line | null = null;
}
