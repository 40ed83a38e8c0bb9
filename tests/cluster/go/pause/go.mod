module tokenplace.test/pause

go 1.24
