import { caretDownIcon, caretRightIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

interface ISectionProps {
  title: string;
  /** Shown beside the title: how many there are. */
  count?: number;
  /** Keeps more of the panel's height than the others, where there is too little for all. */
  tall?: boolean;
  /** At the end of the heading: a button that concerns the whole part. */
  action?: React.ReactNode;
  children: React.ReactNode;
}

/** A part of the panel that opens and closes. */
export function Section(props: ISectionProps): React.JSX.Element {
  const [open, setOpen] = React.useState(true);
  const body = React.useId();
  const Caret = open ? caretDownIcon : caretRightIcon;
  return (
    <section
      className="jp-IlabSection"
      aria-label={props.title}
      data-open={open}
      data-tall={props.tall ?? false}
    >
      <h3 className="jp-IlabSection-heading">
        <button
          className="jp-IlabSection-toggle"
          aria-expanded={open}
          aria-controls={body}
          onClick={() => setOpen(!open)}
        >
          <Caret.react tag="span" className="jp-IlabSection-caret" />
          {props.title}
          {props.count ? <span className="jp-IlabSection-count">{props.count}</span> : null}
        </button>
        {props.action}
      </h3>
      <div id={body} hidden={!open} className="jp-IlabSection-body">
        {open ? props.children : null}
      </div>
    </section>
  );
}
