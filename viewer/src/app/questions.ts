/** What a DICOM study left open, until the user has answered it: a reload does not take it away. */
import { keptTable } from './kept'

const isText = (found: unknown): found is string => typeof found === 'string' && found !== ''

const questions = keptTable('hope-questions', isText)

export const questionOf = (caseId: string): string => questions.value[caseId] ?? ''

/** Ask, or with an empty text say that it is answered. */
export function ask(caseId: string, question: string): void {
  const { [caseId]: _before, ...others } = questions.value
  questions.value = question ? { ...others, [caseId]: question } : others
}
