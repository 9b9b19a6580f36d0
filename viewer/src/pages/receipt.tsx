/** What was deleted: shown once, to keep if wanted, and then forgotten. */
import { moment } from '../app/format'
import { receiptName, receiptSentence, receiptText } from '../app/receipt'
import { saveFile } from '../app/save'
import { receipt } from '../app/state'

function save(): void {
  const told = receipt.value
  if (!told) return
  saveFile(new Blob([receiptText(told)], { type: 'text/plain' }), receiptName(told))
}

export function ReceiptCard() {
  const told = receipt.value
  if (!told) return null
  return (
    <section class="card receipt" aria-labelledby="receipt-title" data-receipt={told.reference}>
      <h2 id="receipt-title">Deletion receipt</h2>
      <p>{receiptSentence(told)}</p>
      {told.unconfirmed.map((sentence) => (
        <p key={sentence} role="alert">
          Not yet confirmed: {sentence}.
        </p>
      ))}
      <dl class="facts">
        <dt>When</dt>
        <dd>{moment(told.at)}</dd>
        <dt>Bytes</dt>
        <dd class="number">{told.bytes.toLocaleString('en-GB')}</dd>
        <dt>Reference</dt>
        <dd>
          <code>{told.reference}</code>
        </dd>
      </dl>
      <p class="soft">
        The server’s audit log knows this deletion under the reference, which says nothing about you or your data.
      </p>
      <div class="row">
        <button type="button" class="button" onClick={save} data-act="save-receipt">
          Download the receipt
        </button>
        <button
          type="button"
          class="button quiet"
          onClick={() => {
            receipt.value = null
          }}
        >
          Put away
        </button>
      </div>
    </section>
  )
}
