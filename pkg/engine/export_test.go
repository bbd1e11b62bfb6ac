package engine

import "time"

// LeaveMargin sets what is left to the API server of its own timeout, for tests that must not depend on how fast the machine is.
func (e *Engine) LeaveMargin(d time.Duration) { e.margin = d }
