import { LabIcon } from '@jupyterlab/ui-components';

/** A flask with a sprout: what was taught grows. */
export const instructLabIcon = new LabIcon({
  name: 'ilab-jupyter:instructlab',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3 jp-icon-selectable" fill="#616161">
    <path d="M9 9.2V4H8V2.4h8V4h-1v5.2l5 9.3c.7 1.4-.2 3.1-1.8 3.1H5.8c-1.6 0-2.5-1.7-1.8-3.1zm1.8-5.2v5.7l-5.2 9.6c-.1.3 0 .5.3.5h12.2c.3 0 .4-.2.3-.5l-5.2-9.6V4z"/>
    <path d="M11.2 18.6v-3.1c-1.9.1-3.2-.9-3.4-2.8 1.700-.1 2.900.5 3.500 1.800.5-1.700 1.800-2.600 3.900-2.500 0 2.200-1.300 3.400-3 3.500v3.100z"/>
  </g>
</svg>`
});
