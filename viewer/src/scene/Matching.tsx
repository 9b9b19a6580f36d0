/** A sequence before and after brightness matching (harmonisation): the choice, and what one sees. */
import { matchingText, type PartProps } from './panel'

export function Matching({ scene }: PartProps) {
  const { canMatch, choice, matchedShown, sequenceBusy } = scene.state
  if (!canMatch.value || !choice.value) return null
  const changed = choice.value.matchedFile !== null
  return (
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
          aria-pressed={matchedShown.value === after}
          // Not `disabled`: the button may have the focus while a key changes the sequence.
          aria-disabled={after && !changed}
          aria-busy={sequenceBusy.value !== '' && matchedShown.value !== after}
          title="Before or after brightness matching (Shift X)"
          data-matching={after ? 'after' : 'before'}
          onClick={() => scene.sequences.showMatched(after)}
        >
          {after ? 'After' : 'Before'}
          <span class="sr-only"> brightness matching</span>
        </button>
      ))}
    </fieldset>
  )
}

/** The words for what is not on screen keep their room, so that the pictures stay where they are. */
export function MatchingNote({ scene, result }: PartProps) {
  const { canMatch, choice, matchedShown } = scene.state
  if (!canMatch.value || !choice.value) return null
  const shown = matchedShown.value
  return (
    <p id="scene-matching" class="scene-caption scene-note" role="status">
      <span>{matchingText(result, choice.value, shown)}</span>
      <span aria-hidden="true">{matchingText(result, choice.value, !shown)}</span>
    </p>
  )
}
