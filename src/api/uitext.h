/*
 * The dashboard as text, from the files of src/api/ui; uitext.c is made from
 * them. Each is a list of lines with their newlines, NULL at the end. The page
 * is all five in this order.
 */
#ifndef API_UITEXT_H
#define API_UITEXT_H

extern const char *const ui_top[];
extern const char *const ui_style[];	/* of the element style */
extern const char *const ui_middle[];
extern const char *const ui_script[];	/* of the element script */
extern const char *const ui_bottom[];

#endif
