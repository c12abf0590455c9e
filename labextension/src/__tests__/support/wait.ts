import { jest } from '@jest/globals';

// Taken before a test replaces the timers by fake ones.
const setTimer = globalThis.setTimeout;
const now = performance.now.bind(performance);

/** Options of `jest.useFakeTimers` that leave sockets and promises alone. */
export const TIMERS_ONLY: NonNullable<Parameters<typeof jest.useFakeTimers>[0]> = {
  doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask']
};

/** Let `milliseconds` of real time pass. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise(resolve => void setTimer(resolve, milliseconds));
}

/** Wait until `condition` returns something truthy, and return that. */
export async function until<T>(condition: () => T, milliseconds = 10_000): Promise<T> {
  const deadline = now() + milliseconds;
  for (;;) {
    const value = condition();
    if (value) {
      return value;
    }
    if (now() > deadline) {
      throw new Error(`Timed out after ${milliseconds} ms: ${condition}`);
    }
    await pause(5);
  }
}
