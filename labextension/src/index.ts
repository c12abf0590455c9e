export { default } from './plugins/panel';
export { IInstructLabJobs } from './tokens';
