/** What the server says, with the titles of sequences in place of their codes. */
import { vocabulary } from './state'
import { readable } from './vocabulary'

export const titled = (text: string | null | undefined): string =>
  text ? (vocabulary.value ? readable(vocabulary.value, text) : text) : ''
