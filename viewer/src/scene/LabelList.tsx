import { aboutVolumes, interval, ml } from '../app/format'
import { volumeOf, volumeRows } from '../app/vocabulary'
import { keyOf, type PartProps, volumesShown } from './panel'
import { STYLES, type Style, seen } from './state'

const STYLE_NAMES: Record<Style, string> = { both: 'Fill and outline', fill: 'Fill', outline: 'Outline' }

function LabelRows({ scene, vocabulary, result }: PartProps) {
  const { state } = scene
  const { volumes } = volumesShown(state, vocabulary, result, scene.voxelMl())
  return volumeRows(vocabulary).map((row) => {
    const label = vocabulary.labels.find(({ key }) => key === row.key)
    const volume = volumeOf(volumes, row.key)
    const on = label ? seen(state.eyes.value, label.value) : true
    const empty = label ? (state.counts.value[label.value] ?? 0) === 0 : false
    return (
      <tr key={row.key} data-label={row.key} class={on ? '' : 'scene-off'}>
        <td>
          {label && (
            <button
              type="button"
              class="scene-eye"
              aria-pressed={on}
              title={`Show or hide (${keyOf(vocabulary, label)})`}
              onClick={() => scene.marks.toggle(label.value)}
            >
              <svg class="scene-eye-mark" viewBox="0 0 24 24" aria-hidden="true">
                <path d="M2.5 12C5 7.6 8.3 5.5 12 5.5s7 2.1 9.5 6.5c-2.5 4.4-5.8 6.5-9.5 6.5S5 16.4 2.5 12Z" />
                <circle class="scene-eye-pupil" cx="12" cy="12" r="2.6" />
                <path class="scene-eye-struck" d="M4.5 19.5l15-15" />
              </svg>
              <span class="sr-only">Show {row.name}</span>
            </button>
          )}
        </td>
        <th scope="row">
          {label ? (
            <button
              type="button"
              class="scene-jump"
              disabled={empty}
              title={empty ? 'Not found in this mask' : `Go to the largest slice of ${row.name}`}
              onClick={() => scene.jump(label.value)}
            >
              <Swatch colour={label.colour} />
              <span>
                <b>{row.key}</b> {row.name}
              </span>
            </button>
          ) : (
            <span class="scene-region">
              <b>{row.key}</b> {row.name}
            </span>
          )}
        </th>
        <td class="number">
          {ml(volume.ml)} ml
          {interval(volume) && <span class="scene-interval">{interval(volume)}</span>}
        </td>
      </tr>
    )
  })
}

/** Colours come from the server; the page's policy forbids style attributes, so the property is set by script. */
export function Swatch({ colour }: { colour: string }) {
  return (
    <span
      class="scene-swatch"
      aria-hidden="true"
      ref={(element) => {
        if (element) element.style.backgroundColor = colour
      }}
    />
  )
}

/** The parts of the tumour: what is seen, how it is drawn, how much there is. */
export function LabelList(props: PartProps) {
  const { scene, vocabulary, result } = props
  const { state } = scene
  const { source } = volumesShown(state, vocabulary, result, scene.voxelMl())
  return (
    <section class="scene-box" aria-labelledby="scene-labels">
      <header class="scene-box-head">
        <h3 id="scene-labels">Labels</h3>
        <button
          type="button"
          class="scene-toggle"
          aria-pressed={state.eyes.value.allHidden}
          title="Hide or show all labels (H)"
          onClick={() => scene.marks.toggleAll()}
        >
          Hide all
        </button>
      </header>
      <table class="scene-labels">
        <caption class="scene-caption">Volumes {source}</caption>
        <thead class="sr-only">
          <tr>
            <th scope="col">Shown</th>
            <th scope="col">Label</th>
            <th scope="col">Volume, with interval where known</th>
          </tr>
        </thead>
        <tbody>
          <LabelRows {...props} />
        </tbody>
      </table>
      <p class="scene-caption">
        {!state.before.value && !state.unsaved.value && aboutVolumes(result, state.version.value)}
      </p>
      <label class="scene-slider scene-wide">
        <span>Opacity</span>
        <input
          type="range"
          name="opacity"
          min="0"
          max="1"
          step="0.05"
          value={state.opacity.value}
          aria-valuetext={`${Math.round(state.opacity.value * 100)} percent`}
          onInput={(event) => scene.marks.setStyle(state.style.value, Number(event.currentTarget.value))}
        />
        <output>{Math.round(state.opacity.value * 100)} %</output>
      </label>
      <fieldset class="scene-group">
        <legend class="sr-only">How labels are drawn</legend>
        {STYLES.map((style) => (
          <button
            key={style}
            type="button"
            class="scene-toggle"
            aria-pressed={state.style.value === style}
            onClick={() => scene.marks.setStyle(style)}
          >
            {STYLE_NAMES[style]}
          </button>
        ))}
      </fieldset>
    </section>
  )
}
