import { counted, dateTime, number } from "../format";
import { Empty, EventLink, Table } from "../parts";
import type { Diff, Replay } from "../types";

const SIGNS = { added: "+", removed: "−", changed: "~" };

export function Differences({ of }: { of: Diff }) {
  if (of.same) return <Empty>The same document.</Empty>;
  if (of.differences.length === 0) return <Empty>The same demands, in other words.</Empty>;
  return (
    <Table label="Differences in meaning">
      <thead>
        <tr>
          <th>
            <span class="sr">Kind</span>
          </th>
          <th>Tool</th>
          <th>Where</th>
          <th>What</th>
          <th>Which way</th>
        </tr>
      </thead>
      <tbody>
        {of.differences.map((one) => (
          <tr
            key={`${one.tool} ${one.place} ${one.rule} ${one.kind} ${one.text}`}
            class={one.direction ?? ""}
          >
            <td>
              <span aria-hidden="true">{SIGNS[one.kind]}</span>
              <span class="sr">{one.kind}</span>
            </td>
            <td>{one.tool || "the pact"}</td>
            <td>
              <code>{one.place || "–"}</code> {one.rule}
            </td>
            <td class="text">{one.text}</td>
            <td>{one.direction ?? "no verdict"}</td>
          </tr>
        ))}
      </tbody>
    </Table>
  );
}

export function ReplayResult({ of }: { of: Replay }) {
  if (of.calls === 0) return <Empty>No call under this pact since {dateTime(of.since)}.</Empty>;
  return (
    <div class="replay">
      <p>
        {counted(of.calls, "call")} judged again: <b class={of.worse ? "bad" : ""}>{number(of.worse)}</b>{" "}
        valid then and violated now, <b class={of.better ? "better" : ""}>{number(of.better)}</b> violated
        then and valid now.
        {of.cut && " Only the latest 10,000 were looked at."}
        {of.erased > 0 && ` ${counted(of.erased, "call")} left out, their values are erased.`}
      </p>
      <Table label="Calls by verdict">
        <thead>
          <tr>
            <th>Then</th>
            <th>Now</th>
            <th class="right">Calls</th>
          </tr>
        </thead>
        <tbody>
          {of.verdicts.map((one) => (
            <tr key={one.before + one.after}>
              <td>{one.before}</td>
              <td>{one.after}</td>
              <td class="right num">{number(one.calls)}</td>
            </tr>
          ))}
        </tbody>
      </Table>
      {of.changed.length > 0 && (
        <details>
          <summary>{counted(of.changed.length, "call")} judged otherwise</summary>
          <ul class="history">
            {of.changed.map((one) => (
              <li key={one.eventId}>
                <EventLink id={one.eventId}>{one.tool}</EventLink> {one.before} → {one.after}:{" "}
                {one.rules.join(", ")}
              </li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}
