/** The words of a list in an attribute: "a, b". */
export const words = (text) =>
	(Array.isArray(text) ? text : String(text ?? '').split(',')).map((word) => word.trim()).filter(Boolean);
