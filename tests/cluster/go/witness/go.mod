module tokenplace.test/witness

go 1.24
