/** The small picture of a stored scan, as the server makes it when it checks the scans: it shows no face. */
import type { CaseOut, SequenceKey } from '../api/types'
import { checksOf } from '../app/checks'
import { vocabulary } from '../app/state'
import { sequenceTitle } from '../app/vocabulary'

export function Thumbnail(props: { found: CaseOut; sequence: SequenceKey | null }) {
  const { found, sequence } = props
  const picture = sequence && checksOf(found)?.thumbnails[sequence]
  if (!picture || !sequence || !vocabulary.value) return null
  return (
    <img
      class="thumbnail"
      src={`data:image/webp;base64,${picture}`}
      alt={`An axial slice of ${sequenceTitle(vocabulary.value, sequence)}, without skin and skull`}
      data-thumbnail={sequence}
    />
  )
}
