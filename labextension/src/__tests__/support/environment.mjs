// jsdom with what browsers have, JupyterLab's packages expect when they are imported, and jsdom does not have.
import { TestEnvironment } from 'jest-environment-jsdom';

export default class extends TestEnvironment {
  async setup() {
    await super.setup();
    const { MouseEvent } = this.global;
    this.global.DragEvent = class DragEvent extends MouseEvent {};
    this.global.ResizeObserver = class ResizeObserver {
      observe() {}
      unobserve() {}
      disconnect() {}
    };
    this.global.matchMedia = () => ({ matches: false, addListener() {}, removeListener() {} });
    this.global.requestIdleCallback = callback => this.global.setTimeout(callback, 0);
    Object.assign(this.global, {
      fetch,
      Headers,
      Request,
      Response,
      TextEncoder,
      TextDecoder,
      Uint8Array
    });
  }

  exportConditions() {
    return ['node', 'node-addons'];
  }
}
