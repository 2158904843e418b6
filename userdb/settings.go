package userdb

const (
	settingsName = "users.settings"
	formerName   = "users.former"
)
