/** A sequence before and after brightness matching (harmonisation): the choice, and what one sees. */
import { matchingText, type PartProps } from './panel'

/** Says on the closed panel that what is on screen is not the scan as it came. */
export function MatchedMark({ scene }: PartProps) {
  return scene.state.matchedShown.value ? <span class="scene-mark">matched</span> : null
}

export function Matching({ scene, result }: PartProps) {
  const { choice, matchedShown, sequenceBusy } = scene.state
  if (!choice.value) return null
  const changed = choice.value.matchedFile !== null
  const shown = matchedShown.value
  return (
    <>
      <fieldset class="scene-group" aria-describedby="scene-matching">
        <legend class="sr-only">Brightness matching</legend>
        <span class="scene-caption" aria-hidden="true">
          Brightness matching
        </span>
        {[false, true].map((after) => (
          <button
            key={String(after)}
            type="button"
            class="scene-toggle"
            aria-pressed={shown === after}
            // Not `disabled`: the button may have the focus while a key changes the sequence.
            aria-disabled={after && !changed}
            aria-busy={sequenceBusy.value !== '' && shown !== after}
            title="Before or after brightness matching (Shift X)"
            data-matching={after ? 'after' : 'before'}
            onClick={() => scene.sequences.showMatched(after)}
          >
            {after ? 'After' : 'Before'}
            <span class="sr-only"> brightness matching</span>
          </button>
        ))}
      </fieldset>
      <p id="scene-matching" class="scene-caption" role="status">
        {matchingText(result, choice.value, shown)}
      </p>
    </>
  )
}
