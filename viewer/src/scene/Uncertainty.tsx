/** Where the model is uncertain, as colours over the pictures, and what the colours mean. */
import type { PartProps } from './panel'
import { FULL_AT, SEEN_FROM, STOPS } from './uncertaintymap'

const percent = (share: number): string => `${Math.round(100 * share)} %`

/** The page's policy forbids style attributes, so the colours are set by script. */
const painted = (element: HTMLElement | null): void => {
  const colours = STOPS.map((stop) => `rgb(${stop.slice(0, 3).join(' ')})`)
  if (element) element.style.backgroundImage = `linear-gradient(to right, ${colours.join(', ')})`
}

export function Uncertainty({ scene }: Pick<PartProps, 'scene'>) {
  const { state } = scene
  if (!state.uncertaintyFile.value) return null
  const on = state.uncertain.value
  return (
    <section class="scene-box" aria-labelledby="scene-uncertainty">
      <header class="scene-box-head">
        <h3 id="scene-uncertainty">Where it is uncertain</h3>
        <button
          type="button"
          class="scene-toggle"
          aria-pressed={on}
          title="Colour where the model is uncertain (U)"
          onClick={() => void scene.uncertainty.show(!on)}
        >
          Show
        </button>
      </header>
      {on && (
        <p class="scene-scale">
          <span>{percent(0)}</span>
          <span class="scene-scale-bar" role="img" aria-label="Colours from violet to yellow" ref={painted} />
          <span>{percent(FULL_AT)} and more</span>
        </p>
      )}
      <p class="scene-caption">
        {state.uncertaintyMeaning.value}
        {on && ` Coloured from ${percent(SEEN_FROM)}.`} It is about the model’s answer, before cleaning and corrections,
        and a model can be sure and wrong.
      </p>
    </section>
  )
}
