import { describe, expect, test } from '@jest/globals';

import { LogWindow } from '../models/logwindow';

function bytes(text: string): number {
  return new TextEncoder().encode(text).length;
}

function texts(window: LogWindow): string[] {
  return window.lines.map(line => line.text);
}

/** A window on the end of `log` that began at byte `offset`. */
function open(log: string, limit = 100, offset = 0): LogWindow {
  const window = new LogWindow(limit);
  window.reset(log, offset, offset + bytes(log));
  return window;
}

/** A window whose first line begins exactly at byte `offset`. */
function openAtLine(log: string, limit: number, offset: number): LogWindow {
  const window = new LogWindow(limit);
  window.reset('', offset, offset);
  window.append(log, offset + bytes(log));
  return window;
}

function numbered(first: number, end: number): string {
  let text = '';
  for (let n = first; n < end; n++) {
    text += `line ${n}\n`;
  }
  return text;
}

describe('a line', () => {
  test.each([
    ['loading 1\rstep 1 loss 4.0000\n', 'step 1 loss 4.0000'],
    ['\rloading 5\rstep 5 loss 0.8000 <b>&amp;</b>\n', 'step 5 loss 0.8000 <b>&amp;</b>'],
    ['100 %\r5\n', '500 %'],
    ['done\r\n', 'done'],
    ['\u001b[31mred\u001b[0m\n', 'red'],
    ['\u001b]0;title\u0007text\n', 'text'],
    ['\u001b[2K\rafter\n', 'after']
  ])('%j is shown as %j', (log, text) => {
    expect(texts(open(log))).toEqual([text]);
  });

  test('is changed by text that follows without a line feed', () => {
    const window = open('first\nsec');
    expect(texts(window)).toEqual(['first', 'sec']);
    expect(window.append('ond\nthi', 16)).toEqual({ removed: 0, from: 1 });
    expect(texts(window)).toEqual(['first', 'second', 'thi']);
  });

  test('folds a carriage return that arrives in a later piece', () => {
    const window = open('10 %');
    window.append('\r50 %', 9);
    window.append('\r100%', 14);
    expect(texts(window)).toEqual(['100%']);
    window.append('\n', 15);
    expect(window.lines[0].bytes).toBe(15);
  });
});

describe('a window', () => {
  test('drops its oldest lines above the limit and moves its start', () => {
    const window = open(numbered(0, 3), 3);
    const more = numbered(3, 5);
    expect(window.append(more, window.end + bytes(more))).toEqual({ removed: 2, from: 1 });
    expect(texts(window)).toEqual(['line 2', 'line 3', 'line 4']);
    expect(window.start).toBe(bytes(numbered(0, 2)));
    expect(window.end).toBe(bytes(numbered(0, 5)));
  });

  test('counts bytes, not characters', () => {
    const window = open('äöü\n€\nz\n', 1);
    expect(texts(window)).toEqual(['z']);
    expect(window.start).toBe(bytes('äöü\n€\n'));
  });

  test('that begins inside a line leaves that line out', () => {
    const window = open('e 4\nline 5\n', 100, 31);
    expect(texts(window)).toEqual(['line 5']);
    expect(window.start).toBe(35);
    expect(window.end).toBe(42);
  });

  test('that begins at byte 0 keeps its first line', () => {
    expect(texts(open('line 0\nline 1\n'))).toEqual(['line 0', 'line 1']);
  });
});

describe('earlier lines', () => {
  test('are put before the window, without the one cut off', () => {
    const window = openAtLine(numbered(5, 7), 100, 35);
    expect(window.prepend('e 2\nline 3\nline 4\n', 17)).toEqual({ added: 2, removed: 0 });
    expect(texts(window)).toEqual(['line 3', 'line 4', 'line 5', 'line 6']);
    expect(window.start).toBe(21);
    expect(window.end).toBe(49);
  });

  test('push the newest lines out above the limit', () => {
    const window = openAtLine(numbered(5, 8), 3, 35);
    expect(window.prepend('x\nline 4\n', 26)).toEqual({ added: 1, removed: 1 });
    expect(texts(window)).toEqual(['line 4', 'line 5', 'line 6']);
    expect(window.start).toBe(28);
    expect(window.end).toBe(49);
  });

  test('are read to the very first one, each once and in order', () => {
    const log = numbered(0, 10_000);
    const page = 4096;
    const window = new LogWindow(600);
    window.reset(log.slice(-page), log.length - page, log.length);
    while (window.start > 0) {
      const offset = Math.max(0, window.start - page);
      const before = window.start;
      window.prepend(log.slice(offset, window.start), offset);
      expect(window.start).toBeLessThan(before);
      const first = Number(window.lines[0].text.split(' ')[1]);
      expect(texts(window)).toEqual(window.lines.map((_, index) => `line ${first + index}`));
      expect(window.lines.length).toBeLessThanOrEqual(600);
      expect(log.slice(window.start, window.end)).toBe(
        window.lines.map(line => `${line.text}\n`).join('')
      );
    }
    expect(window.lines[0].text).toBe('line 0');
  });

  test('show a line longer than a page from where it was cut', () => {
    const window = openAtLine('next\n', 100, 100);
    window.prepend('xxxxxxxxx\n', 90);
    expect(texts(window)).toEqual(['xxxxxxxxx', 'next']);
    expect(window.start).toBe(90);
  });
});
