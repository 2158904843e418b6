//go:build !race

package commands_test

const raceDetector = false
