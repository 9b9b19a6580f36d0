/** The one line over a result: volumes with their intervals, expected quality, and the worst remark. */
import type { Signal } from '@preact/signals'
import type { CaseOut, Volumes } from '../api/types'
import { interval, ml } from '../app/format'
import { badgeOf, wordOf, worstOf } from '../app/remarks'
import { titled } from '../app/titled'
import { volumeOf } from '../app/vocabulary'

function Region(props: { name: string; title: string; volumes: Volumes }) {
  const volume = volumeOf(props.volumes, props.name)
  return (
    <span class="headline-volume nobreak" data-headline={props.name} data-ml={volume.ml}>
      <abbr title={props.title}>{props.name}</abbr> <strong>{ml(volume.ml)} ml</strong>
      {interval(volume) && <span class="soft"> ({interval(volume)})</span>}
    </span>
  )
}

/** `version`: 0 for the model's mask, whose intervals and expected quality it has; a correction has its own volumes. */
export function Headline(props: { found: CaseOut; volumes: Volumes; version: number; tab: Signal<string> }) {
  const { found, volumes, version, tab } = props
  const worst = worstOf(found.qc)
  const verdict = found.expected_quality?.verdict
  const nothing = found.tumour_found === false && !volumeOf(volumes, 'WT').ml
  return (
    <div class="headline" data-version={version}>
      {nothing ? (
        <strong class="headline-volume">No tumour was found</strong>
      ) : (
        <>
          <Region name="WT" title="Whole tumour" volumes={volumes} />
          <Region name="TC" title="Tumour core" volumes={volumes} />
        </>
      )}
      {version > 0 && <span class="badge">Your correction {version}</span>}
      {verdict && (
        <span
          class={`badge ${verdict === 'likely poor' ? 'failed' : verdict === 'check' ? 'warned' : ''}`}
          data-verdict={verdict}
        >
          Expected quality{version > 0 ? ' of the model’s result' : ''}: {verdict}
        </span>
      )}
      {worst && (
        <button
          type="button"
          class="headline-worst"
          title={titled(worst.reason)}
          data-worst={worst.code}
          onClick={() => {
            tab.value = 'quality'
          }}
        >
          <span class={badgeOf(worst)}>{wordOf(worst)}</span>
          <span class="headline-reason">{titled(worst.reason)}</span>
        </button>
      )}
    </div>
  )
}
