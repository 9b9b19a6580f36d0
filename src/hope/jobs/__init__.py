"""Work in progress: stages as killable processes, what they hand over, and how sessions end."""
