//go:build race

package e2e

// raceDetector tells that these tests run with the race detector, so that Signet does too.
const raceDetector = true
