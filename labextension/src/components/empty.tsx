import * as React from 'react';

/** What to do where there is nothing yet: a sentence and the code to run. */
export function Empty(props: { children: React.ReactNode; code?: string }): React.JSX.Element {
  return (
    <div className="jp-IlabEmpty">
      <p>{props.children}</p>
      {props.code ? <pre>{props.code}</pre> : null}
    </div>
  );
}
