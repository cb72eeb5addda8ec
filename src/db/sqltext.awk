# The SQL files named on the command line as C: see sqltext.h.
BEGIN {
	print "/* Made from src/db/sql by sqltext.awk. */"
	print "#include \"db/sqltext.h\"\n\n#include <stddef.h>"
}
FNR == 1 {
	if (count > 0)
		print "\tNULL\n};"
	name = FILENAME
	sub(/.*\//, "", name)
	sub(/\.sql$/, "", name)
	names[++count] = name
	print "\nstatic const char *const text" count "[] = {"
}
{
	gsub(/\\/, "\\\\&")
	gsub(/"/, "\\\"")
	gsub(/\t/, "\\t")
	print "\t\"" $0 "\","
}
END {
	if (count > 0)
		print "\tNULL\n};"
	print "\nconst struct sqltext sqltext[] = {"
	for (i = 1; i <= count; i++)
		print "\t{ \"" names[i] "\", text" i " },"
	print "\t{ NULL, NULL }\n};"
}
